"""TagBox's claim recomputed from its printed tables."""

from reports.published import Claim, paper
from reports.text import listing


def claims() -> list[Claim]:
    """TagBox: Table 1 is said to use the MTAT tagger."""
    found = paper("tagbox")
    ours = {c: v.value for c, v in found.table("Table 1").rows["TagBox"].items()}
    same = [row for row, cells in found.table("Table 2").rows.items() if {c: v.value for c, v in cells.items()} == ours]
    return [
        Claim(
            "TagBox",
            "Table 1 uses the MTAT FCN tagger",
            f"its figures are those of {listing(same)} in Table 2",
            same == ["MTAT, FCN"],
            "means only: no spread, so no difference can be tested",
        )
    ]
