import io

from quality_report import print_report
from rich.console import Console


def test_gains_over_bicubic_are_told_with_the_worst_of_them(make_value) -> None:
    gains = {"1 step": (1.0, 2.0, -9.0), "7 tds": (0.5, 0.5, 0.5)}
    textures = (0.7, 0.7, 0.1)
    values = [make_value("bicubic", top=top, texture=textures[top], psnry=30.0 + top) for top in range(3)]
    for method, found in gains.items():
        values += [
            make_value(method, top=t, texture=textures[t], psnry=30.0 + t + gain) for t, gain in enumerate(found)
        ]
    report = io.StringIO()
    print_report(values, Console(file=report, width=150))
    _, _, table = report.getvalue().partition("less that of bicubic, dB")
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in table.splitlines() if line.startswith("│")]
    rows = {name: (textured.split()[0], every.split()[0], *rest) for name, textured, every, *rest in cells}
    assert rows == {"1 step": ("1.500", "-2.000", "1.000", "-9.000"), "7 tds": ("0.500",) * 4}
