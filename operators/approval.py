"""Ask a person before a policy is promoted, where the pipeline wants it: Airflow's human in the loop.

The task waits without a worker. Its end is always a signed answer in the journal: approved, rejected, or
unanswered when the time was over. Everything that follows reads that answer only.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param
from airflow.sdk.exceptions import AirflowSkipException, TaskAwaitingInput

from drl.errors import Falsified, Undetermined
from operators.base import Run, RunOperator
from operators.signing import signer

if TYPE_CHECKING:
    from airflow.sdk.definitions.context import Context

    from drl.record.outcome import Approval

# How often a task that waits looks whether somebody signed an answer with a key of their own.
_LOOK = timedelta(minutes=1)


class ApprovePolicyOperator(RunOperator, ApprovalOperator):
    """Show what would be promoted, wait for an answer, and sign it.

    A verdict that promotes nothing needs nobody: the task is skipped. Who answers, and until when, is what
    the run's frozen spec says.
    """

    def __init__(self, **kwargs: Any) -> None:
        # Airflow has put the DAG's own parameters into kwargs by now; the form to answer has one field.
        comment = Param(
            "", type="string", title="Comment", description="Signed with the answer", source="task"
        )
        kwargs |= {"subject": "Approve this promotion?", "params": {"comment": comment}}
        super().__init__(**kwargs)

    def work(self, run: Run) -> dict[str, Any]:
        """Return the answer, if there is one already; else ask, and wait."""
        from drl.steps.approval import needs_approval

        if not needs_approval(run.resolved, run.decision):
            raise AirflowSkipException(f"{run.outcome.verdict} needs nobody's approval: {run.outcome.reason}")
        if (answer := run.answer) is not None:
            return self._tell(answer)
        if _nobody_can_answer(run.context):
            return self._sign(run, "unanswered", "", "`airflow dags test` has nobody who could answer.")
        return self._ask(run)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Go on after an answer in Airflow, or when it is time to look again."""
        return self.guarded(context, lambda run: self._resume(run, event))

    def _ask(self, run: Run) -> dict[str, Any]:
        rule = run.spec.promotion
        self.assigned_users = [{"id": name, "name": name} for name in rule.approvers]
        self.body = _body(run, _deadline(run))
        self.response_timeout = self._wait(run)
        self.log.info("%s", self.body)
        answer: dict[str, Any] = ApprovalOperator.execute(self, run.context)
        return answer

    def _wait(self, run: Run) -> timedelta:
        """Until the deadline, or until it is time to look for an answer signed elsewhere."""
        left = max(_deadline(run) - datetime.now(UTC), timedelta(seconds=1))
        return min(left, _LOOK) if run.spec.promotion.approver_keys else left

    def _resume(self, run: Run, event: dict[str, Any]) -> dict[str, Any]:
        if (answer := run.answer) is not None:  # signed with a key of the approver's own, and first
            return self._tell(answer)
        if event.get("error_type") == "timeout":
            return self._wait_or_end(run)
        if "error" in event:
            raise Undetermined(f"asking failed: {event['error']}", remedy="clear this task to ask again")
        user = _allowed(event["responded_by_user"] or {}, run.spec.promotion.approvers)
        approved = event["chosen_options"] == [self.APPROVE]
        comment = str((event["params_input"] or {}).get("comment", ""))
        return self._sign(run, "approved" if approved else "rejected", user, comment)

    def _wait_or_end(self, run: Run) -> dict[str, Any]:
        if datetime.now(UTC) < _deadline(run):
            raise TaskAwaitingInput(method_name="execute_complete", timeout=self._wait(run))
        minutes = run.spec.promotion.approval_timeout_minutes
        waited = "1 minute" if minutes == 1 else f"{minutes} minutes"
        return self._sign(run, "unanswered", "", f"no answer within {waited}.")

    def _sign(self, run: Run, answer: Approval, approver: str, comment: str) -> dict[str, Any]:
        from drl.steps.approval import write_answer

        write_answer(run.journal, answer, approver, comment, signer("approval"))
        stored = run.answer
        if stored is None:
            raise Undetermined("the answer was written and is not there", remedy="clear this task")
        return self._tell(stored)

    def _tell(self, answer: dict[str, Any]) -> dict[str, Any]:
        who = answer["approver"] or "nobody"
        self.log.info("%s by %s at %s: %s", answer["answer"], who, answer["answered"], answer["comment"])
        return {name: answer[name] for name in ("answer", "approver", "answered", "comment")}


def _allowed(user: dict[str, Any], approvers: list[str]) -> str:
    """Name of the user who answered; Airflow may let others answer than those that the run names."""
    if approvers and not {user.get("id"), user.get("name")} & set(approvers):
        raise Falsified(
            f"{user.get('name')!r} answered, who is none of {approvers}",
            remedy="clear this task to ask again, and see who may act on the DAG",
        )
    return str(user.get("name") or user.get("id") or "an unnamed user")


def _nobody_can_answer(context: Context) -> bool:
    """Whether this is ``airflow dags test``, which has no scheduler to end the waiting."""
    return bool(context["dag_run"].triggering_user_name == "dag_test")


def _deadline(run: Run) -> datetime:
    """When the time to answer is over, counted from the first time anybody was asked."""
    asked = run.journal.once("asked.json", lambda: {"at": datetime.now(UTC).isoformat(timespec="seconds")})
    minutes = run.spec.promotion.approval_timeout_minutes
    return datetime.fromisoformat(asked["at"]) + timedelta(minutes=minutes)


def _body(run: Run, deadline: datetime) -> str:
    """What the approver sees, in Markdown."""
    from drl.steps.approval import question

    summary, asked = run.result("evaluate").summary, question(run.journal)
    level = f"{100 * (1 - summary['alpha']):.4g} %"
    gap = summary["gap"]
    rows = [
        ("Gap to the strongest baseline", f"{_interval(gap['estimate'])} to `{gap['baseline']}`"),
        *(
            (f"Minus `{name}`", _interval(other["difference"]))
            for name, other in sorted(summary["comparisons"].items())
        ),
        ("Model", f"`{asked.model}`"),
        ("Model root", f"`{asked.root}`"),
        ("Evaluation statement", f"`{asked.evaluation}`"),
        ("Report with all plots", _report(run)),
        ("Answer until", f"{deadline:%Y-%m-%d %H:%M} UTC; without an answer the run ends in HOLD"),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return (
        f"**{asked.verdict}.** {run.decision['reason']}\n\n"
        f"Differences are {summary['unit']} per episode, policy minus the other, with {level} intervals.\n\n"
        f"| | |\n|---|---|\n{table}\n\n"
        "Your answer is signed and names exactly this model root and this evaluation."
    )


def _interval(value: dict[str, Any]) -> str:
    estimate, lower, upper = (_number(value[name]) for name in ("estimate", "lower", "upper"))
    return f"{estimate} [{lower}, {upper}]"


def _number(value: float) -> str:
    """Four significant digits with their sign, whole from a thousand on."""
    return f"{value:+,.0f}" if abs(value) >= 1000 else f"{value:+.4g}"


def _report(run: Run) -> str:
    from airflow.sdk.configuration import conf

    base = str(conf.get("api", "base_url", fallback="")).rstrip("/")
    return f"[open]({base}/drl/report/{run.pipeline}/{quote(run.context['run_id'], safe='')})"
