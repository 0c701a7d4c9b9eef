"""Who may read an uploaded file besides its owner: fal's access rules (fal's documentation)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

Decision = Literal["allow", "forbid", "hide"]

MAX_RULES = 100
_DECISIONS = get_args(Decision)


@dataclass(frozen=True, slots=True)
class Rule:
    """A decision for one user, named by the alias or the id of a key; `key_ids` says whose."""

    user: str
    decision: Decision
    key_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Acl:
    """The first rule about whoever asks decides, else `default`. "forbid" says that there is
    such a file, "hide" does not."""

    default: Decision = "allow"
    rules: tuple[Rule, ...] = ()

    def decide(self, key_id: str | None) -> Decision:
        """None: whoever asks has shown no key."""
        for rule in self.rules:
            if key_id in rule.key_ids:
                return rule.decision
        return self.default

    def of(self, users: Mapping[str, Iterable[str]]) -> Acl:
        """The same with every rule bound to the keys that `users` knows its user by; rules about
        unknown users are dropped, as fal does."""
        return Acl(
            self.default,
            tuple(
                Rule(rule.user, rule.decision, tuple(sorted(users[rule.user])))
                for rule in self.rules
                if rule.user in users
            ),
        )

    def shown(self) -> dict[str, Any]:
        """As the wire has it."""
        return {
            "default": self.default,
            "rules": [{"user": rule.user, "decision": rule.decision} for rule in self.rules],
        }

    def stored(self) -> dict[str, Any]:
        rules = [
            {"user": rule.user, "decision": rule.decision, "key_ids": rule.key_ids}
            for rule in self.rules
        ]
        return {"default": self.default, "rules": rules}


def parse(document: Any, default: Decision | None = None) -> Acl:
    """Rules as the wire has them, not yet bound to keys; `default` where they name none.

    ValueError says what is wrong.
    """
    if not isinstance(document, dict):
        raise ValueError('an ACL is an object: {"default": "forbid", "rules": []}')  # noqa: TRY004
    rules = document.get("rules") or []
    if not isinstance(rules, list) or len(rules) > MAX_RULES:
        raise ValueError(f"rules is a list of {MAX_RULES} at most")
    return Acl(_decision(document, "default", default), tuple(map(_rule, rules)))


def restore(stored: Mapping[str, Any]) -> Acl:
    """What `stored` gave."""
    return Acl(
        stored["default"],
        tuple(
            Rule(rule["user"], rule["decision"], tuple(rule["key_ids"])) for rule in stored["rules"]
        ),
    )


def _rule(document: Any) -> Rule:
    if not isinstance(document, dict):
        raise ValueError('a rule is an object: {"user": "...", "decision": "allow"}')  # noqa: TRY004
    user = document.get("user")
    if not isinstance(user, str) or not 0 < len(user) <= 255:
        raise ValueError("the user of a rule is a text of 1 to 255 characters")
    return Rule(user, _decision(document, "decision"))


def _decision(document: Mapping[str, Any], name: str, default: Decision | None = None) -> Decision:
    value = default if document.get(name) is None else document[name]
    if value not in _DECISIONS:
        raise ValueError(f"{name} is one of {', '.join(_DECISIONS)}")
    return cast(Decision, value)
