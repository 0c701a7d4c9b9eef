"""C082-C087: webhooks (spec 7)."""

import base64
import hashlib
import time
from dataclasses import replace

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from tests.acceptance.conftest import ENDPOINT, calling
from tests.acceptance.support.jobs import Job, submitted
from tests.acceptance.support.receiver import Receiver
from tests.acceptance.support.waiting import eventually

QUICK = {"prompt": "x", "model": "echo/echo"}


@pytest.fixture
def receiver(background):
    with Receiver(background) as receiver:
        yield receiver


def test_c082_js_gets_a_webhook_with_the_result(node, wire, raw, receiver, asked):
    request_id = node("webhooks.submitted", input=asked(), webhookUrl=receiver.url)
    assert "fal_webhook=http%3A%2F%2F127.0.0.1" in wire.calls[0].path
    (delivery,) = receiver.wait()
    assert delivery.headers["content-type"] == "application/json"
    assert delivery.document == {
        "request_id": request_id,
        "gateway_request_id": request_id,
        "status": "OK",
        "payload": Job(raw, request_id).result().json(),
    }


def test_c083_js_gets_a_webhook_with_the_failure(node, raw, receiver, asked):
    request_id = node("webhooks.submitted", input=asked(temperature=3), webhookUrl=receiver.url)
    told = receiver.wait()[0].document
    assert (told["request_id"], told["status"]) == (request_id, "ERROR")
    assert told["error"] == "Invalid status code: 422"
    assert told["payload"]["detail"][0]["loc"] == ["body", "temperature"]
    assert told["payload"] == Job(raw, request_id).result().json()


# As the verifiers in fal's documentation do it: any of the keys, by its `x` alone.
def is_signed(delivery, jwks, now):
    names = ("request-id", "user-id", "timestamp")
    lines = [delivery.headers[f"x-fal-webhook-{name}"] for name in names]
    if abs(now - int(lines[2])) > 300:
        return False
    message = "\n".join([*lines, hashlib.sha256(delivery.body).hexdigest()]).encode()
    signature = bytes.fromhex(delivery.headers["x-fal-webhook-signature"])
    for key in jwks["keys"]:
        public = base64.urlsafe_b64decode(key["x"] + "=" * (-len(key["x"]) % 4))
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        except InvalidSignature:
            continue
        return True
    return False


def test_c084_a_webhook_is_signed_with_a_published_key(server, raw, receiver):
    with submitted(raw, QUICK, fal_webhook=receiver.url) as job:
        (delivery,) = receiver.wait()
    assert delivery.headers["x-fal-webhook-request-id"] == job.id
    with calling(server.origin, key=None) as anybody:
        for path in ("/rest/.well-known/jwks.json", "/.well-known/jwks.json"):
            answer = anybody.get(path)
            assert answer.status_code == 200
            assert is_signed(delivery, answer.json(), time.time())
    keys = answer.json()["keys"]
    assert all(key["kty"] == "OKP" and key["crv"] == "Ed25519" for key in keys)
    changed = replace(delivery, body=delivery.body + b" ")
    assert not is_signed(changed, answer.json(), time.time())


def test_c085_a_failed_delivery_is_made_again(background, raw):
    with (
        Receiver(background, 500) as receiver,
        submitted(raw, QUICK, fal_webhook=receiver.url) as job,
    ):
        first, second = receiver.wait(2)
        ended = eventually(lambda: delivery(raw, job, "delivered"))
    assert first.body == second.body
    assert second.document["request_id"] == job.id
    assert second.headers["x-fal-webhook-request-id"] == job.id
    assert ended["attempt"] == 2


def test_c086_a_redirect_is_neither_followed_nor_tried_again(background, raw):
    with (
        Receiver(background, 302) as receiver,
        submitted(raw, QUICK, fal_webhook=receiver.url) as job,
    ):
        receiver.wait()
        ended = eventually(lambda: delivery(raw, job, "dead"))
        assert len(receiver.deliveries) == 1
        assert receiver.elsewhere == []
    # Nothing comes after the end of a delivery.
    assert (ended["attempt"], ended["last_status"], ended["next_at"]) == (1, 302, None)


def test_c087_a_private_receiver_is_refused_unless_allowed(serving, receiver):
    guarded = serving(env={"TELECINE_NET_ALLOW": ""})
    with calling(guarded.origin) as raw:
        with submitted(raw, QUICK, fal_webhook=receiver.url) as job:
            ended = eventually(lambda: delivery(raw, job, "dead"))
        answer = raw.post(
            f"/queue/{ENDPOINT}", json=QUICK, params={"fal_webhook": "file:///etc/passwd"}
        )
    assert guarded.stop() == 0
    assert receiver.deliveries == []
    assert (ended["attempt"], ended["last_status"]) == (1, None)
    assert "127.0.0.1" in ended["last_detail"]
    assert answer.status_code == 422


def delivery(raw, job, state):
    """The delivery that tells of `job`, if it is in this state."""
    answer = raw.get("/telecine/v1/deliveries", params={"request_id": job.id, "state": state})
    assert answer.status_code == 200, answer.text
    return next(iter(answer.json()["deliveries"]), None)
