"""Step: one self-contained page with films, pictures, plots, scores, provenance and licences.

Everything is embedded: the page opens from a folder, without a network.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from artifacts.errors import InputError
from artifacts.step import run_step
from artifacts.text_files import write_whole
from evaluation.aggregate import MEAN_SUBJECT, SEVERAL, read_score_table
from evaluation.metric_names import REGIONS, metric_info, sort_key
from evaluation.records import Records, read_records
from evaluation.report_files import find_head_models, find_subject
from evaluation.report_page import library_versions, page_environment
from evaluation.report_pictures import encode
from evaluation.report_subject import SubjectSection, make_section
from evaluation.report_tables import markdown_to_html, missing_notes, score_table
from head_geometry.head_model import HeadModel

# Below the results folder.
RECORDS = "records.json"
LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """Options of ``python -m evaluation.report``."""

    results: Path
    """Folder with the results of all subjects."""
    subjects: tuple[str, ...]
    """Subjects to show, in this order; also the drivers whose renders are looked for."""
    models: tuple[str, ...]
    """Models to show, in this order."""
    out: Path
    """Page to write; a contact sheet of every subject is written beside it as contact_<subject>.png."""
    drivers: tuple[str, ...] = ()
    """Subjects without avatars, recordings and sounds whose renders are looked for beside those of the subjects; only the
    first have pictures of their own."""
    head_models: tuple[Path, ...] = ()
    """``head_model`` artifact of each subject's fit, or one for all; by default the only one below results/head_models."""
    config: Path | None = None
    """Configuration file to show."""
    max_video_s: float = 12.0
    """Longest film, seconds; a longer render shows its beginning."""


def make_page(
    options: Options,
    table: pd.DataFrame,
    sections: list[SubjectSection],
    records: Records,
) -> str:
    """The page as HTML.

    Args:
        options: Names to show, and where configuration and licences are.
        table: Long score table.
        sections: What to show of each subject.
        records: Provenance, licences and consents of the run.
    """
    environment = page_environment()
    names = sorted(table["metric"].unique(), key=sort_key)
    licences = options.results / "licences.md"
    origins = {name: record.files for name, record in records.subjects.items()}
    origins = {"all subjects": records.shared_files, **origins}
    shown = [*options.subjects]
    if len(shown) > 1 and MEAN_SUBJECT in set(table["subject"]):
        shown.append(MEAN_SUBJECT)
    return environment.get_template("report.html").render(
        split=" and ".join(name for name in table["split"].unique() if name != SEVERAL),
        models=options.models,
        sections=sections,
        scores={name: score_table(table, name, options.models) for name in shown},
        mean_subject=MEAN_SUBJECT if MEAN_SUBJECT in shown else "",
        missing=missing_notes(table),
        definitions={name: metric_info(name) for name in names},
        regions=REGIONS,
        people=records.subjects,
        records=records,
        records_link=os.path.relpath(options.results / RECORDS, options.out.parent),
        origins=origins,
        versions=library_versions([origin for found in origins.values() for origin in found]),
        fit_pages=fit_pages(options.out.parent, options.subjects),
        config=options.config.read_text(encoding="utf-8") if options.config else "",
        licences=Markup(  # noqa: S704  # escaped by markdown_to_html
            markdown_to_html(licences.read_text(encoding="utf-8")) if licences.is_file() else ""
        ),
    )


def fit_pages(folder: Path, subjects: tuple[str, ...]) -> dict[str, str]:
    """Subject to the page of ``evaluation.fit_report`` beside the report, where there is one."""
    names = {subject: f"fit_{subject}.html" for subject in subjects}
    return {subject: name for subject, name in names.items() if (folder / name).is_file()}


def main(options: Options) -> None:
    """Make the page and the contact sheets.

    Raises:
        InputError: a file that the report needs is missing or cannot be read.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    table = read_score_table(options.results / "tables" / "scores.csv")
    records = read_records(options.results / RECORDS)
    if unknown := [name for name in options.subjects if name not in records.subjects]:
        raise InputError(
            f"{options.results / RECORDS}: has no subject {unknown[0]!r}; make it with the step evaluation.records"
        )
    fitted = find_head_models(options.results, options.subjects, options.head_models)
    loaded = {path: HeadModel.load(path) for path in set(fitted.values())}
    files = {
        name: find_subject(
            options.results, name, options.models, (*options.subjects, *options.drivers)
        )
        for name in options.subjects
    }
    # Subjects that only drive have pictures too; recordings have none.
    drivers = {
        name: path
        for name in (*options.subjects, *options.drivers)
        if (path := options.results / name / "frames.h5").is_file()
    }
    sounds = {name: options.results / "drivers" / name / "frames.h5" for name in options.drivers}
    sections = []
    for name, found in files.items():
        section = make_section(found, loaded[fitted[name]], drivers, sounds, options.max_video_s)
        sections.append(section)
        write_whole(options.out.parent / f"contact_{name}.png", encode(section.contact, kind="png"))
        LOGGER.info("%s: pictures and films are made", name)
    write_whole(options.out, make_page(options, table, sections, records))


if __name__ == "__main__":
    run_step(Options, main)
