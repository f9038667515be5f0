"""The fuzzing targets: models from the tests, and checks of network input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.chat.test_room_model import RoomModel
from tests.chat.test_subscription_model import SubscriptionModel
from tests.server.http import test_request_fuzz
from tests.server.session import test_session_fuzz
from tests.wire.protocol import test_parser_fuzz
from tests.wire.test_outbox_model import OutboxModel

STEPS = 60  # of a model in one example

Checks = dict[str, tuple[Callable[..., None], tuple[Any, ...]]]

MODELS: dict[str, type[RuleBasedStateMachine]] = {
    "outbox": OutboxModel,
    "room": RoomModel,
    "subscriptions": SubscriptionModel,
}
CHECKS: Checks = {**test_parser_fuzz.TARGETS, **test_request_fuzz.TARGETS, **test_session_fuzz.TARGETS}
NAMES = (*MODELS, *CHECKS)


class Target:
    """One target; `executions` counts examples."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.executions = 0

    def run(self, seed: int, examples: int) -> None:
        """Runs examples chosen by the seed. Raises the error of the first failing one, minimised."""
        settings = hypothesis.settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            database=None,
            deadline=None,
            phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        if self.name in MODELS:
            self._run_model(MODELS[self.name], seed, settings)
        else:
            check, strategies = CHECKS[self.name]
            hypothesis.seed(seed)(
                settings(hypothesis.given(*strategies)(self._counted(check, len(strategies))))
            )()

    def _run_model(
        self, model: type[RuleBasedStateMachine], seed: int, settings: hypothesis.settings
    ) -> None:
        target = self

        class Counted(model):  # type: ignore[misc, valid-type]
            """The model, with a counter."""

            def __init__(self) -> None:
                target.executions += 1
                super().__init__()

        Counted.__name__ = model.__name__
        run_state_machine_as_test(hypothesis.seed(seed)(Counted), settings=settings)

    def _counted(self, check: Callable[..., None], arguments: int) -> Callable[..., None]:
        def counted(*values: Any) -> None:
            self.executions += 1
            check(*values)

        names = ", ".join(f"value{number}" for number in range(arguments))
        scope: dict[str, Any] = {"counted": counted}
        # Hypothesis requires as many named parameters as there are strategies.
        exec(f"def fuzz({names}): counted({names})", scope)
        made: Callable[..., None] = scope["fuzz"]
        return made
