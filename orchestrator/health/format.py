"""A health report as lines for people. Pure: ``cli/`` prints them."""

from orchestrator.health.report import HealthReport, Rung


def lines(report: HealthReport) -> list[str]:
    """The rungs, then (for an unhealthy endpoint) cause, telling line, remedy and the last log lines; then warnings."""
    shown = [_rung(rung) for rung in report.rungs]
    if report.answer_text:
        shown.append(f"  answer: {report.answer_text}")
    if report.diagnosis is not None:
        shown += [f"cause:  {report.diagnosis.cause}", f"  said: {report.diagnosis.line}"]
        shown.append(f"remedy: {report.diagnosis.remedy}")
    elif not report.healthy:
        shown.append(f"next:   deployctl logs {report.runtime}")
    if report.log:
        shown.append("last log lines:")
        shown += [f"  | {line}" for line in report.log.split("\n")]
    shown += [f"warning: {warning}" for warning in report.warnings]
    return shown


def _rung(rung: Rung) -> str:
    sign = "·" if rung.ok is None else "✓" if rung.ok else "!" if rung.only_warns else "✗"
    took = f"  ({rung.seconds:.0f} s)" if rung.seconds >= 1 else ""
    return f"{sign} {rung.name}" + (f": {rung.detail}" if rung.detail else "") + took
