"""The life of a queued request as its caller sees it over HTTP, on both databases."""

import asyncio

EP = "openrouter/router/video"
QUEUE = "/queue/openrouter/router/requests"


def asked(do="answer"):
    return {"prompt": do, "model": "echo/echo"}


async def submitted(server, do="answer", **headers):
    answer = await server.call("POST", f"/queue/{EP}", asked(do), headers=headers)
    assert answer.status == 200, answer.body
    return answer.json["request_id"]


async def status(server, request_id, query=""):
    return (await server.call("GET", f"{QUEUE}/{request_id}/status{query}")).json


def test_it_waits_runs_and_is_answered(serve):
    async def test(server):
        first, second = await submitted(server, "chat"), await submitted(server)
        await server.house.pipeline.began(1)
        waiting = await status(server, second)
        assert (waiting["status"], waiting["queue_position"]) == ("IN_QUEUE", 0)
        async for job in server.house.queue.watch(first, logs=True):
            if job.logs:
                break
        running = await status(server, first, "?logs=1")
        assert running["status"] == "IN_PROGRESS"
        assert running["logs"][0]["message"] == "first line"
        assert (await server.call("GET", f"{QUEUE}/{first}")).status == 400
        server.house.pipeline.go.set()
        await asyncio.gather(server.house.ended(first), server.house.ended(second))
        assert (await status(server, first))["status"] == "COMPLETED"
        assert (await server.call("GET", f"{QUEUE}/{first}")).json["output"] == "The answer."

    serve(test, slots=1)


def test_its_stream_of_status_ends_with_its_end(serve):
    async def test(server):
        request_id = await submitted(server)
        answer = await server.call("GET", f"{QUEUE}/{request_id}/status/stream")
        told = [event["status"] for event in answer.events]
        assert (told[-1], told.count("COMPLETED")) == ("COMPLETED", 1)

    serve(test)


def test_one_that_waits_is_cancelled_at_once(serve):
    async def test(server):
        await submitted(server, "wait")
        await server.house.pipeline.began(1)
        request_id = await submitted(server)
        answer = await server.call("PUT", f"{QUEUE}/{request_id}/cancel")
        assert (answer.status, answer.json["status"]) == (202, "CANCELLATION_REQUESTED")
        assert (await status(server, request_id))["status"] == "COMPLETED"
        assert request_id not in server.house.pipeline.started

    serve(test, slots=1)


def test_one_that_runs_is_stopped(serve):
    async def test(server):
        request_id = await submitted(server, "wait")
        await server.house.pipeline.began(1)
        assert (await server.call("PUT", f"{QUEUE}/{request_id}/cancel")).status == 202
        assert (await server.house.ended(request_id)).state == "cancelled"
        assert server.house.pipeline.stopped == [request_id]
        again = await server.call("PUT", f"{QUEUE}/{request_id}/cancel")
        assert (again.status, again.json["status"]) == (400, "ALREADY_COMPLETED")

    serve(test)


def test_the_same_idempotency_key_is_the_same_request_also_at_the_same_moment(serve):
    async def test(server):
        key = {"idempotency-key": "once"}
        ids = await asyncio.gather(*(submitted(server, **key) for _ in range(8)))
        assert len(set(ids)) == 1
        assert await server.house.rows("SELECT id FROM requests") == [{"id": ids[0]}]
        assert await submitted(server) != ids[0]

    serve(test)


def test_a_result_is_forgotten_when_its_time_is_over(serve):
    async def test(server):
        request_id = await submitted(server)
        await server.house.ended(request_id)
        assert (await server.call("GET", f"{QUEUE}/{request_id}")).status == 200
        server.clock.now += 1001  # the house keeps payloads for 1000 seconds
        await server.house.db.write(server.house.worker._expire)
        assert (await server.call("GET", f"{QUEUE}/{request_id}")).status == 404
        assert (await status(server, request_id))["status"] == "COMPLETED"

    serve(test)


def test_one_that_was_to_have_started_by_now_is_told_so(serve):
    async def test(server):
        await submitted(server, "wait")
        await server.house.pipeline.began(1)
        request_id = await submitted(server, **{"x-fal-request-timeout": "30"})
        server.clock.now += 31
        server.house.gate.ring()
        await server.house.ended(request_id)
        answer = await server.call("GET", f"{QUEUE}/{request_id}")
        assert (answer.status, answer.json["error_type"]) == (504, "request_timeout")

    serve(test, slots=1)
