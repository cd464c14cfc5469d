"""Sentences, each made from Findings alone, so that no sentence can say what the numbers do
not.
"""

import math

from reports.findings import Comparison, Contrast, Course, Findings, Path
from reports.level import largest_differences, level_sentence
from reports.statistics.hypothesis_tests import Result
from reports.text import MISSING, count, listing, number, p_phrase

AS_GIVEN = ("item_means", "delong")
"""Tests that take tracks or clips as the sample, and the models as the only ones."""
NAMED = 4
"""Variants that a headline names on either side; the table below names all."""
ITEM_PLURAL = {"track": "tracks", "clip": "clips"}


def statistic(result: Result) -> str:
    """`t(8.0) = 8.96`, or `z = 2.10`."""
    if math.isnan(result.statistic):
        return ""
    if math.isinf(result.df):
        return f"z = {number(result.statistic)}"
    if math.isnan(result.df):
        return f"W = {number(result.statistic, 1)}"
    return f"t({result.df:.1f}) = {number(result.statistic)}"


def family_phrase(comparison: Comparison) -> str:
    """`family of 6`, with the correction's name."""
    if comparison.correction == "none":
        return f"uncorrected, {comparison.family} contrasts"
    return f"{comparison.correction_label}, family of {comparison.family}"


def contrast_sentence(comparison: Comparison, contrast: Contrast) -> str:
    """What one contrast found, with its interval, test, p and family."""
    style, result = comparison.style, contrast.primary
    names = f"{contrast.variant}", f"{contrast.reference}"
    if contrast.refused:
        return f"{names[0]} against {names[1]} is not computed: {contrast.refused}."
    if math.isnan(result.difference):
        return f"{names[0]} cannot be compared with {names[1]}: {result.note}."
    if math.isnan(result.p):
        return (
            f"{names[0]} differs from {names[1]} by "
            f"{style.difference(result.difference, unit=True)} on {style.label}, "
            f"but no test is possible: {result.note}."
        )
    numbers = [f"{interval_name(comparison)} {style.interval(*contrast.simultaneous, contrast.reference_mean)}"]
    if comparison.correction != "none" and not math.isnan(result.low):
        kind = "as if the number of runs had been fixed" if comparison.repeated else "pointwise"
        numbers.append(f"{kind} {style.interval(result.low, result.high, contrast.reference_mean)}")
    found = statistic(result)
    numbers.append(f"{result.label}, {found}" if found else result.label)
    numbers.append(p_phrase(result.p))
    if comparison.correction != "none":
        numbers.append(f"{p_phrase(contrast.p_corrected, 'corrected p')} ({family_phrase(comparison)})")
    inside = "; ".join(numbers)
    if result.difference == 0:
        return f"{names[0]} and {names[1]} have the same mean {style.label} ({inside})."
    verb = "raises" if result.difference > 0 else "lowers"
    if significant(comparison, contrast):
        return f"{names[0]} {verb} {style.label} by {style.amount(result.difference)} over {names[1]} ({inside})."
    return (
        f"{names[0]} shows no significant difference to {names[1]} on {style.label}: "
        f"{style.difference(result.difference, unit=True)} ({inside})."
    )


def over_both(comparison: Comparison) -> list[str]:
    """The means that a difference is of, where the reference has another one over all that it is scored on."""
    value = comparison.style.value
    return [
        f"Over what both have, {each.variant} has {value(comparison.row(each.variant).mean)} and {each.reference} "
        f"{value(each.reference_mean)} {comparison.style.label}."
        for each in comparison.contrasts
        if each.left_out and each.reference_mean != comparison.row(each.reference).mean
    ]


def significant(comparison: Comparison, contrast: Contrast) -> bool:
    """Whether the corrected p is below alpha; False for NaN."""
    return contrast.p_corrected < comparison.alpha


def untested(contrast: Contrast | None) -> str:
    """What stands in a variant's row instead of a test."""
    return "reference" if contrast is None else "refused"


def confidence(comparison: Comparison) -> str:
    """`95 %`."""
    return f"{100 * (1 - comparison.alpha):g}\N{NO-BREAK SPACE}%"


def interval_name(comparison: Comparison) -> str:
    """What the interval beside a corrected p is: `95 % CI`, `95 % simultaneous CI` or one made for its rank."""
    if comparison.repeated:
        return f"{confidence(comparison)} repeated CI"
    kind = {"none": "", "bonferroni": "simultaneous "}.get(comparison.correction, f"{comparison.correction_label} ")
    return f"{confidence(comparison)} {kind}CI"


def headline(findings: Findings) -> str:
    """The answer in one or two sentences for each primary comparison, and whether its level can be kept."""
    if findings.course is not None:
        texts = [_course(findings.main, findings.course)]
    else:
        texts = [_headline(c) for c in findings.comparisons if c.primary] + [level_sentence(findings)]
    failed, kept = failure_sentence(findings), controls_sentence(findings)
    return " ".join(filter(None, [failed, *texts, "" if failed else kept]))


def failure_sentence(findings: Findings) -> str:
    """That a control did not come out as declared, and what follows; empty where all did."""
    failed = findings.controls.failed if findings.controls else ()
    if not failed:
        return ""
    which = "A CONTROL FAILED" if len(failed) == 1 else f"{len(failed)} CONTROLS FAILED"
    told = "; ".join(control.told for control in failed)
    until = "it does" if len(failed) == 1 else "they do"
    return f"{which}: {told}. Until {until}, these runs cannot tell what follows from chance or from a fault."


def controls_sentence(findings: Findings) -> str:
    """What the controls show that these runs can see."""
    if findings.controls is None:
        return ""
    told = listing([control.told for control in findings.controls.judged])
    text = f"Controls: {told}."
    null = not any(_sides(findings.main))
    power = findings.power
    if null and power is not None and power.detectable <= max(largest_differences(findings)):
        text += (
            f" So a difference of {findings.main.style.amount(power.detectable)} or more would very likely have been "
            "seen (80 % power); of smaller ones nothing is said."
        )
    return text


def overturning_sentence(comparison: Comparison, contrast: Contrast) -> str:
    """The spread between trainings that would undo a finding about models as given; empty for others."""
    sd = overturning(comparison, contrast)
    if math.isnan(sd):
        return ""
    return (
        f"It would not stand if trainings of {contrast.variant} and of {contrast.reference} with other seeds differed "
        f"by an SD of {comparison.style.amount(sd)} or more."
    )


def overturning(comparison: Comparison, contrast: Contrast) -> float:
    """The run-to-run SD, alike in both arms, with which a contrast of models as given is no longer significant.

    The difference would have to exceed t sqrt(se² + sd² (1/n + 1/m)) at the level of the correction; NaN where it
    is not significant or runs are the sample already.
    """
    result = contrast.primary
    if comparison.test not in AS_GIVEN or not significant(comparison, contrast) or not result.se > 0:
        return math.nan
    half = contrast.simultaneous[1] - result.difference
    limit = half / result.se
    return math.sqrt(((result.difference / limit) ** 2 - result.se**2) / (1 / result.n[0] + 1 / result.n[1]))


def _headline(main: Comparison) -> str:
    label = main.style.label + (f" ({main.target})" if main.target not in ("", "macro") else "")
    tested = [c for c in main.contrasts if not math.isnan(c.p_corrected)]
    better, worse = _sides(main)
    if not tested:
        return f"No variant could be tested against {main.against} on {label}{_why_not(main)}."
    parts = []
    for group, word in ((better, "better"), (worse, "worse")):
        if group:
            each = [
                f"{c.variant} ({main.style.difference(c.primary.difference, unit=True)}, "
                f"corrected {p_phrase(c.p_corrected)})"
                for c in group
            ]
            parts.append(
                f"{listing(each, NAMED)} {'is' if len(each) == 1 else 'are'} significantly {word} than {main.against}"
            )
    family = f"{main.test_label}, {family_phrase(main)}"
    where = f"These models as given: on {label}" if main.test in AS_GIVEN else f"On {label}"
    if parts:
        text = f"{where}, {'; '.join(parts)} ({family})."
        rest = len(tested) - len(better) - len(worse)
        if rest:
            other = "other variant" if rest == 1 else f"other {rest} variants"
            text += f" For the {other} no difference could be shown."
        return text
    many = "the one variant tested" if len(tested) == 1 else f"none of the {len(tested)} variants tested"
    verb = "does not differ" if len(tested) == 1 else "differs"
    text = f"{where}, {many} {verb} significantly from {main.against} ({family})."
    return text


def _why_not(main: Comparison) -> str:
    """Why nothing was tested, where one reason holds for all."""
    runs = {len(row.runs) for row in main.rows if row.runs}
    if runs == {1}:
        return ": every variant has one seed, and the test needs at least two"
    reasons = {contrast.refused or contrast.primary.note for contrast in main.contrasts}
    return f": {reasons.pop()}" if len(reasons) == 1 and "" not in reasons else ""


def _course(main: Comparison, course: Course) -> str:
    """What was decided and with how many seeds; differences are adjusted for the looks."""
    label = main.style.label + (f" ({main.target})" if main.target not in ("", "macro") else "")
    words = {
        "significant": "significantly different",
        "equivalent": "equivalent within the margin",
        "out of reach": "out of reach of the largest look",
        "undecided": "undecided at the largest look",
        "not tested": "not testable",
        "": "not decided yet",
    }
    groups = {
        word: [f"{path.variant}{_at(main, path)}" for path in course.paths if path.decision == decision]
        for decision, word in words.items()
    }
    parts = "; ".join(f"{word}: {listing(names)}" for word, names in groups.items() if names)
    spent = f"{course.trainings} trials in place of {course.fixed}"
    return f"On {label}, against {main.against}, {parts} ({family_phrase(main)}, over all looks; {spent})."


def _at(main: Comparison, path: Path) -> str:
    if not path.looks or math.isnan(path.estimate):
        return ""
    last = path.looks[-1]
    return (
        f" ({main.style.difference(path.estimate, unit=True)}, {interval_name(main)} "
        f"{main.style.interval(last.low, last.high)}, {count(last.seeds, 'seed')})"
    )


def _sides(comparison: Comparison) -> tuple[list[Contrast], list[Contrast]]:
    sign = 1 if comparison.style.higher_is_better else -1
    clear = [c for c in comparison.contrasts if significant(comparison, c)]
    better = [c for c in clear if sign * c.primary.difference > 0]
    worse = [c for c in clear if sign * c.primary.difference < 0]
    return (
        sorted(better, key=lambda c: -abs(c.primary.difference)),
        sorted(worse, key=lambda c: -abs(c.primary.difference)),
    )


def generalisation(findings: Findings) -> str:
    """What the conclusion reaches to: other runs, other tracks, or only these."""
    main = findings.main
    if all(math.isnan(contrast.p_corrected) for contrast in main.contrasts):
        return "Nothing could be tested, so nothing is said about other training runs."
    items = ITEM_PLURAL.get(main.item, "clips")
    if main.test in ("crossed", "paired_crossed", "mixed", "bootstrap", "seeds_clips", "paired_clips"):
        like = f" like these {main.items}" if main.item else ""
        text = (
            f"The primary test takes runs and {items} as samples: its "
            f"conclusions reach to other training runs and to other {items}{like}. {grouping(findings)}"
        )
    elif main.test in AS_GIVEN:
        text = (
            f"The primary test takes {items} as the sample and these models as given: its conclusions reach to other "
            f"{items}, not to other trainings of the same variants. {grouping(findings)}"
        )
    else:
        text = (
            "The primary test takes runs as the sample: its conclusions reach to other "
            "training runs of these "
            "variants, evaluated on these same test items, not to other items."
        )
    if findings.study.declaration.shared:
        shared = findings.study.declaration.shared.strip().rstrip(".")
        text += f" {shared[:1].upper()}{shared[1:]}. What a shared stage learned by chance is not in "
        text += "the spread between runs."
    return text


def grouping(findings: Findings) -> str:
    """Whether items count as independent of each other, or the groups that they are of do."""
    main = findings.main
    items = ITEM_PLURAL.get(main.item, "clips")
    if main.groups:
        return (
            f"The {main.items} {items} are of {count(main.groups, 'group')} (songs, albums or artists, as the data set "
            "names them), and the groups are what is sampled."
        )
    return (
        f"The {items} are taken as independent of each other: several of one song, album or artist tell less, and the "
        "test is then too sure (a column `group` in the score table says which belong together)."
    )


def equivalence_sentence(comparison: Comparison, contrast: Contrast) -> str:
    """How close to equal the arms are shown to be; empty where it cannot be said."""
    found, style = contrast.equivalence, comparison.style
    if math.isnan(found.smallest) or contrast.refused:
        return ""
    if not math.isnan(found.margin) and not math.isnan(found.p):
        verdict = "equivalent" if found.p < comparison.alpha else "not shown to be equivalent"
        return (
            f"{contrast.variant} and {contrast.reference} are {verdict} within "
            f"±{style.amount(found.margin)} (TOST, {p_phrase(found.p)})."
        )
    return (
        f"No margin was declared, so equivalence is not tested; two one-sided tests at {comparison.alpha:g} would "
        f"reject any true difference beyond ±{style.amount(found.smallest)}, which describes these scores only."
    )


def device_sentence(contrast: Contrast) -> str:
    """Which contrast's arms ran on different kinds of device, or with different software."""
    return (
        f"{contrast.variant} and {contrast.reference} ran on different kinds of device "
        f"({listing(contrast.devices)}): part of their difference may come from that."
    )


def bundle_sentences(comparison: Comparison) -> list[str]:
    """One sentence for each set of changes that contrasts make several of at once."""
    groups: dict[str, list[str]] = {}
    for contrast in comparison.contrasts:
        if contrast.comparability.bundle:
            groups.setdefault(contrast.comparability.bundle, []).append(contrast.variant)
    return [
        f"{listing(names)} against {comparison.against}: {'each ' if len(names) > 1 else ''}"
        f"{text}. The difference is due to all of this together."
        for text, names in groups.items()
    ]


def bundle_sentence(contrast: Contrast) -> str:
    """What one contrast changes at once; empty for a single thing."""
    text = contrast.comparability.bundle
    return f"It {text}; the difference is due to all of this together." if text else ""


def naive_sentence(findings: Findings) -> str:
    """Where pooling would have called something significant that the primary test does not; empty
    where it would not.
    """
    main = findings.main
    multiple = 1 if main.correction == "none" else main.family
    fooled = [
        c
        for c in main.contrasts
        if c.naive is not None and c.naive.p * multiple < main.alpha and c.p_corrected >= main.alpha
    ]
    if main.test in AS_GIVEN:  # between runs nothing is known, so pooling cannot be shown to be wrong
        return ""
    if not fooled:
        return ""
    each = [f"{c.variant} (naive {p_phrase(c.naive.p)}, honest {p_phrase(c.primary.p)})" for c in fooled if c.naive]
    return (
        "A test that pools all pairs as if they were independent would also have called "
        f"{listing(each)} significant "
        "after correction; it takes the noise between training runs for an effect."
    )


def mean_se(comparison: Comparison, variant: str) -> str:
    """`91.85 ± 0.03`; without the error where there is one run; a dash without any."""
    row = comparison.row(variant)
    if math.isnan(row.mean):
        return MISSING
    if math.isnan(row.se):
        return comparison.style.value(row.mean)
    return f"{comparison.style.value(row.mean)} ± {comparison.style.spread(row.se)}"


def sentences(findings: Findings) -> list[str]:
    """One sentence a contrast of the primary comparison, in the table's order."""
    return [contrast_sentence(findings.main, contrast) for contrast in findings.main.contrasts]
