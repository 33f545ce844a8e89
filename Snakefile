"""From one clip of a person to avatars, their scores and a report."""

from snakemake.utils import min_version

min_version("9.0")


configfile: "config.yaml"


report: "workflow/report/workflow.rst"


include: "rules/checks.smk"
include: "rules/common.smk"
include: "rules/assets.smk"
include: "rules/preprocess.smk"
include: "rules/prior.smk"
include: "rules/avatars.smk"
include: "rules/scores.smk"
include: "rules/cross.smk"
include: "rules/evaluate.smk"
include: "rules/tables.smk"
include: "rules/exchange.smk"


rule all:
    """Everything that config.yaml asks for: renders, scores, tables, report."""
    default_target: True
    input:
        ARTIFACTS,
        RENDERS,
        NAVIGATIONS,
        FIT_PAGES,
        OWN_TABLES,
        "results/tables/scores.csv",
        "results/tables/scores.md",
        "results/report/index.html",
        "results/licences.md",
        "results/records.json",
