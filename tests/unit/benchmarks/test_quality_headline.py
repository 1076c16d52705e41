import pytest
from quality_headline import MONOTONE, best_setting, better_settings, crisp_settings, headline, niqe_monotone


def test_the_best_setting_is_the_one_with_the_lowest_mean_niqe(make_value) -> None:
    values = [make_value("7 tds", niqe=5.0), make_value("7 tds", top=4, niqe=5.0)]
    values += [make_value("15 tds", niqe=3.0), make_value("15 tds", top=4, niqe=7.5)]
    values += [make_value("realesrgan", niqe=1.0), make_value("original", niqe=1.0), make_value("30 tds", niqe=1.0)]
    assert best_setting(values) == "7 tds"


def test_of_equal_settings_the_first_is_best_and_without_niqe_none_is(make_value) -> None:
    assert best_setting([make_value("4 uniform", niqe=5.0), make_value("7 tds", niqe=5.0)]) == "4 uniform"
    assert best_setting([make_value("7 tds", psnry=30.0)]) is None


def test_figures_of_ours_are_all_of_the_best_setting(make_value) -> None:
    values = [
        make_value("7 tds", niqe=5.0, psnry=26.0, seconds=2.0),
        make_value("15 tds", niqe=4.0, psnry=25.0, seconds=4.0),
        make_value("realesrgan", niqe=3.0, psnry=24.0, seconds=6.0),
        make_value("7 tds", inputs="degraded", niqe=1.0, psnry=22.0),
        make_value("15 tds", inputs="degraded", niqe=6.0, psnry=21.0),
        make_value("realesrgan", inputs="degraded", niqe=3.5, psnry=20.0),
    ]
    line = headline(values, same_device=True)
    assert line["setting_best"] == "15 tds"
    assert (line["niqe_ours_best"], line["psnry_ours_best"], line["seconds_ratio"]) == (4.0, 25.0, 1.5)
    assert (line["niqe_realesrgan"], line["psnry_realesrgan"]) == (3.0, 24.0)
    assert (line["niqe_ours_degraded"], line["psnry_ours_degraded"]) == (6.0, 21.0)
    assert (line["niqe_realesrgan_degraded"], line["psnry_realesrgan_degraded"]) == (3.5, 20.0)


def test_a_setting_is_crisp_if_its_edges_are_as_steep_as_real_esrgans(make_value) -> None:
    values = [make_value("realesrgan", edges=0.8), make_value("7 tds", edges=0.7), make_value("15 tds", edges=0.8)]
    values += [make_value("4 tds, gain 1.5", edges=0.9), make_value("original", edges=1.0)]
    assert crisp_settings(values) == ["15 tds", "4 tds, gain 1.5"]
    assert crisp_settings(values[1:]) == []


def test_seconds_of_two_devices_are_not_compared(make_value) -> None:
    values = [make_value("7 tds", niqe=5.0), make_value("realesrgan", niqe=3.0)]
    assert headline(values, same_device=True)["seconds_ratio"] == 1.0
    assert headline(values, same_device=False)["seconds_ratio"] is None


def test_the_gain_of_one_step_is_that_of_textured_crops(make_value) -> None:
    values = []
    for top, texture, gain in ((0, 0.1, 5.0), (4, 0.45, 0.5), (8, 0.9, 1.0)):
        values += [make_value("bicubic", top=top, texture=texture, psnry=25.0)]
        values += [make_value("1 step", top=top, texture=texture, psnry=25.0 + gain)]
        values += [make_value("one-step model", top=top, texture=texture, psnry=25.5 + gain, lr_psnr=44.0 + gain)]
    line = headline(values, same_device=True)
    assert (line["psnry_gain_1step"], line["psnry_gain_one_step_model"]) == (0.75, 1.25)
    assert line["lr_psnr_one_step_model"] == pytest.approx(44.0 + 6.5 / 3, abs=1e-4)


def test_drops_and_losses_are_against_bicubic(make_value) -> None:
    values = [make_value("bicubic", niqe=8.0, psnry=25.0), make_value("1 step", lr_psnr=40.0)]
    values += [make_value("7 tds", niqe=6.0), make_value("15 tds", niqe=5.0, psnry=24.5, lr_psnr=41.0)]
    line = headline(values, same_device=True)
    assert (line["niqe_drop_7step"], line["niqe_drop_15step"], line["psnry_loss_15step"]) == (2.0, 3.0, 0.5)
    assert (line["lr_psnr_1step"], line["lr_psnr_15step"]) == (40.0, 41.0)


def test_what_was_not_measured_is_null() -> None:
    assert set(headline([], same_device=True).values()) == {None}


@pytest.mark.parametrize(
    ("means", "expected"), [((6, 5, 4, 3, 2), True), ((6, 5, 4, 3, 3.5), False), ((6, 6, 4, 3, 2), False)]
)
def test_niqe_is_monotone_only_if_every_rung_lowers_it(make_value, means, expected) -> None:
    values = [make_value(name, niqe=niqe) for name, niqe in zip(MONOTONE, means, strict=True)]
    assert niqe_monotone(values) is expected
    assert niqe_monotone(values[:-1]) is None


def test_better_settings_meet_both_conditions(make_value) -> None:
    theirs = make_value("realesrgan", niqe=4.0, psnry=24.0)
    ours = [make_value("4 tds", niqe=4.1, psnry=27.0), make_value("7 tds", niqe=4.0, psnry=25.0)]
    ours += [make_value("15 uniform", niqe=3.9, psnry=25.5), make_value("15 tds", niqe=3.0, psnry=24.9)]
    assert better_settings([theirs, *ours]) == ["7 tds", "15 uniform"]
    assert better_settings(ours) == []
