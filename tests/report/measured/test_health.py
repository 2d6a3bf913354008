from __future__ import annotations

from probe_samples import finding, no_layers, not_finite, resnet, vanishing, vanishing_report

from normadvisor.report.measured.health import Zone, findings_of, health_of, weight_gradients, withdrawn_of, worst_first, zones
from normadvisor.types import LayerMeasurements, Measurements, Report, Severity

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO


def test_health_of_layers():
    report = vanishing_report()
    health = health_of(findings_of(report, report.measurements[0]))
    assert (health.severity("body.0"), health.rules("body.0")) == (ERROR, ["NA601"])
    assert (health.severity("body.11"), health.rules("body.11")) == (WARNING, ["NA604"])
    assert (health.severity("head"), health.rules("head")) == (None, [])


def test_findings_of_another_model_are_left_out():
    report, other = vanishing_report(), resnet()
    assert findings_of(report, other) == ()
    assert withdrawn_of(report, other) == ()
    assert [item.rule for item in findings_of(report, vanishing())] == ["NA601", "NA604", "NA503"]
    assert [item.finding.rule for item in withdrawn_of(report, vanishing())] == ["NA504"]


def layers(*parameters):
    return tuple(LayerMeasurements(name=str(order), cls="x", order=order, parameters=count) for order, count in enumerate(parameters))


def said(severity, *names, rule="NA601"):
    return finding(rule, "x", severity, "x", no_layers(), names)


def test_layers_without_parameters_do_not_interrupt_a_zone():
    assert zones(layers(1, 0, 1, 1, 0), [said(ERROR, "0", "2")]) == [Zone(0, 2, ERROR, "NA601")]
    assert zones(layers(1, 1, 1, 1, 0), [said(ERROR, "0", "2")]) == [Zone(0, 0, ERROR, "NA601"), Zone(2, 2, ERROR, "NA601")]


def test_where_zones_meet_the_worst_counts():
    found = zones(layers(1, 1, 1, 1, 1), [said(WARNING, "0", "1", "2", rule="NA608"), said(ERROR, "1"), said(INFO, "4"), said(WARNING, "gone")])
    assert found == [Zone(0, 0, WARNING, "NA608"), Zone(1, 1, ERROR, "NA601"), Zone(2, 2, WARNING, "NA608")]


def test_worst_first():
    report = vanishing_report()
    measured = report.measurements[0]
    names = [layer.name for layer in worst_first(measured, health_of(findings_of(report, measured)))]
    assert names[:17] == [*(f"body.{2 * index}" for index in range(12)), *(f"body.{index}" for index in (1, 11, 13, 15, 17))]
    assert sorted(names) == sorted(layer.name for layer in measured.layers)


def test_what_is_not_finite_stands_before_all_without_findings():
    names = [layer.name for layer in worst_first(not_finite(), health_of(()))]
    assert names[:5] == ["attention.scale", "attention.out", "mlp.0", "mlp.2", "head"]


def test_a_trend_along_the_depth_makes_no_layer_stand_out():
    fading = tuple(LayerMeasurements(name=str(order), cls="x", order=order, parameters=1, series={"grad_rms": (10.0**-order * (50 if order == 6 else 1),)}) for order in range(12))
    assert worst_first(Measurements(target="a", layers=fading), health_of(()))[0].name == "6"


def test_gradients_of_weights_stand_for_those_of_the_layer():
    layer = LayerMeasurements(name="a", cls="x", series={"grad_norm": (5.0,), "weight_grad_norm": (1.0,)})
    assert weight_gradients(layer).series["grad_norm"] == (1.0,)
    bare = LayerMeasurements(name="a", cls="x", series={"grad_norm": (5.0,), "weight_grad_norm": (None,)})
    assert weight_gradients(bare) is bare


def test_a_finding_without_a_model_belongs_to_all():
    loose = finding("NA401", "x", WARNING, "x", Measurements(target="?"), ["0"])
    assert findings_of(Report(findings=(loose,)), resnet()) == ()
