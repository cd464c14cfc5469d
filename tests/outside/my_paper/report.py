from reports.sections import Section


def section(findings, options, tables) -> Section:
    levels = ", ".join(variant.levels[options["factor"]] for variant in findings.study.variants)
    return Section("Filters", (f"The filters have {levels} taps.",))
