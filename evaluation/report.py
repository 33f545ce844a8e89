"""Step: one self-contained page with films, pictures, plots, scores, provenance and licences; of many subjects one page each.

Everything is embedded: the pages open from a folder, without a network.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
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
from evaluation.report_pictures import Picture, encode, thumbnail
from evaluation.report_subject import SubjectSection, make_section
from evaluation.report_tables import (
    ScoreTable,
    markdown_to_html,
    missing_notes,
    overview,
    score_table,
)
from head_geometry.head_model import HeadModel

# Below the results folder.
RECORDS = "records.json"
# Width of the small contact sheets that lead to the subjects' pages.
THUMBNAIL_PX = 320
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
    subject_pages: bool = False
    """Give each subject a page of its own beside this one, subject_<subject>.html; this one then shows the tables and a small
    contact sheet of each."""


@dataclass(frozen=True)
class Report:
    """What all pages draw from: names and places, the long score table, provenance and consents."""

    options: Options
    table: pd.DataFrame
    records: Records

    @property
    def pages(self) -> dict[str, str]:
        """Subject to its page beside the index; none where the index shows everything."""
        names = self.options.subjects if self.options.subject_pages else ()
        return {name: f"subject_{name}.html" for name in names}

    def fit_page(self, subject: str) -> str:
        """The page of ``evaluation.fit_report`` beside the report; empty where there is none."""
        name = f"fit_{subject}.html"
        return name if (self.options.out.parent / name).is_file() else ""

    def scores(self, subject: str) -> ScoreTable:
        """Scores of a subject, or of the mean."""
        return score_table(self.table, subject, self.options.models)


def index_page(
    report: Report, sections: Sequence[SubjectSection], thumbnails: Mapping[str, Picture]
) -> str:
    """The page of all as HTML.

    Args:
        report: What the pages draw from.
        sections: What to show of each subject; none where each has a page of its own.
        thumbnails: Subject to a small contact sheet that leads to its page, in the other case.
    """
    options, table, records = report.options, report.table, report.records
    names = sorted(table["metric"].unique(), key=sort_key)
    licences = options.results / "licences.md"
    has_mean = len(options.subjects) > 1 and MEAN_SUBJECT in set(table["subject"])
    shown = [section.name for section in sections] + [MEAN_SUBJECT] * has_mean
    origins = {"all subjects": records.shared_files}
    origins |= {
        name: record.files for name, record in records.subjects.items() if name not in report.pages
    }
    return (
        page_environment()
        .get_template("report.html")
        .render(
            whose=f"{len(thumbnails)} people" if thumbnails else ", ".join(options.subjects),
            split=" and ".join(name for name in table["split"].unique() if name != SEVERAL),
            models=options.models,
            sections=sections,
            thumbnails=thumbnails,
            pages=report.pages,
            overview=overview({name: report.scores(name) for name in thumbnails}),
            scores={name: report.scores(name) for name in shown},
            mean_subject=MEAN_SUBJECT if has_mean else "",
            missing=missing_notes(table),
            definitions={name: metric_info(name) for name in names},
            regions=REGIONS,
            people=records.subjects,
            recordings=records.recordings,
            records=records,
            records_link=os.path.relpath(options.results / RECORDS, options.out.parent),
            origins=origins,
            versions=library_versions(origin for found in origins.values() for origin in found),
            fit_pages={name: report.fit_page(name) for name in options.subjects},
            config=options.config.read_text(encoding="utf-8") if options.config else "",
            licences=Markup(  # noqa: S704  # escaped by markdown_to_html
                markdown_to_html(licences.read_text(encoding="utf-8")) if licences.is_file() else ""
            ),
        )
    )


def subject_page(report: Report, section: SubjectSection) -> str:
    """The page of one subject as HTML."""
    person = report.records.subjects[section.name]
    return (
        page_environment()
        .get_template("subject_page.html")
        .render(
            section=section,
            person=person,
            models=report.options.models,
            scores=report.scores(section.name),
            fit_page=report.fit_page(section.name),
            index=report.options.out.name,
            restrictions=report.records.restrictions,
            versions=library_versions(person.files),
        )
    )


def main(options: Options) -> None:
    """Make the pages and the contact sheets.

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
    report = Report(options, table, records)
    sections, thumbnails = [], {}
    for name, found in files.items():
        section = make_section(found, loaded[fitted[name]], drivers, sounds, options.max_video_s)
        write_whole(options.out.parent / f"contact_{name}.png", encode(section.contact, kind="png"))
        if name in report.pages:
            # One by one: the films of hundreds do not fit into the memory.
            write_whole(options.out.parent / report.pages[name], subject_page(report, section))
            thumbnails[name] = thumbnail(section.contact, THUMBNAIL_PX)
        else:
            sections.append(section)
        LOGGER.info("%s: pictures and films are made", name)
    write_whole(options.out, index_page(report, sections, thumbnails))


if __name__ == "__main__":
    run_step(Options, main)
