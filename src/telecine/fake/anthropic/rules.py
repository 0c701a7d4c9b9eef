"""What models there are, what they cost, and what the real one refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from telecine.fake.record import Received
from telecine.fake.script import Script

MAX_BODY, _MAX_IMAGE = 32_000_000, 5 * 1024 * 1024
_LEAST_BUDGET = 1024
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


@dataclass(frozen=True, slots=True)
class Model:
    """US dollars per million tokens. `has_budget`: it is told how much to think, not how hard."""

    name: str
    prompt: Decimal
    completion: Decimal
    cached: Decimal
    context: int = 200_000
    output: int = 64_000
    images: int = 100
    has_budget: bool = True


MODELS = {
    model.name: model
    for model in (
        Model("claude-sonnet-4-5", Decimal(3), Decimal(15), Decimal("0.3")),
        Model("claude-haiku-4-5", Decimal(1), Decimal(5), Decimal("0.1")),
        Model(
            "claude-sonnet-5",
            Decimal(2),
            Decimal(10),
            Decimal("0.2"),
            context=1_000_000,
            output=128_000,
            images=600,
            has_budget=False,
        ),
    )
}
# What a model costs and takes that is called after a switch.
SOME = MODELS["claude-sonnet-4-5"]


def objection(received: Received) -> Script | None:
    """What the real one refuses, too."""
    body, model = received.document, MODELS.get(received.model, SOME)
    if not isinstance(body.get("max_tokens"), int):
        return refusal(400, "max_tokens: Field required")
    if body["max_tokens"] > model.output:
        return refusal(400, f"max_tokens: {body['max_tokens']} > {model.output}")
    if (temperature := body.get("temperature")) is not None and not 0 <= temperature <= 1:
        return refusal(400, "temperature: range: 0..1")
    if len(received.of("image")) > model.images:
        return refusal(400, f"messages: too many images: more than {model.images}")
    if any(sent.bytes > _MAX_IMAGE for sent in received.of("image")):
        at = "messages.0.content.0.image.source.base64"
        return refusal(400, f"{at}: image exceeds 5 MB maximum")
    return _objection_to_thinking(body, model)


def _objection_to_thinking(body: Mapping[str, Any], model: Model) -> Script | None:
    match body.get("thinking"):
        case {"type": "enabled", "budget_tokens": int(budget)}:
            if not model.has_budget:
                return refusal(400, "thinking: type enabled is not supported for this model")
            if not _LEAST_BUDGET <= budget < body["max_tokens"]:
                return refusal(400, "thinking.enabled.budget_tokens: out of range")
        case {"type": "adaptive"} if model.has_budget:
            return refusal(400, "thinking: type adaptive is not supported for this model")
        case {"type": "enabled"}:
            return refusal(400, "thinking.enabled.budget_tokens: Field required")
        case {"type": "disabled"} | None:
            return None
    if body.get("temperature", 1) != 1:
        return refusal(400, "temperature: may only be set to 1 when thinking is enabled")
    return None


def refusal(status: int, message: str) -> Script:
    inner = {"type": _TYPES.get(status, "api_error"), "message": message}
    return Script(status=status, body={"type": "error", "error": inner})


def listed(model: Model) -> dict[str, Any]:
    yes, budget = {"supported": True}, {"supported": model.has_budget}
    types = {"enabled": budget, "adaptive": {"supported": not model.has_budget}, "disabled": yes}
    return {
        "type": "model",
        "id": model.name,
        "display_name": model.name.replace("-", " ").title(),
        "created_at": "2026-01-01T00:00:00Z",
        "lifecycle": "active",
        "max_input_tokens": model.context,
        "max_tokens": model.output,
        "capabilities": {
            "image_input": yes,
            "pdf_input": yes,
            "thinking": {"supported": True, "types": types},
        },
    }
