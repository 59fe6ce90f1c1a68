"""All tables, in the order of the flow: data/README.md and the gates are made from this list."""

from cai.artifacts.cleaned import ASKED, CLEANED, DROPPED, EDITS
from cai.artifacts.evaluation import ANSWERS, EVALUATION_PROMPTS
from cai.artifacts.instructions import INSTRUCTIONS
from cai.artifacts.preference import EXCLUDED, HUMAN_PAIRS, PREFERENCES, SAMPLES, VERDICTS
from cai.artifacts.prompts import PROMPTS
from cai.artifacts.raw import RAW_INSTRUCTIONS, RAW_RED_TEAM
from cai.artifacts.supervised import CRITIQUES, RESPONSES, REVISIONS
from cai.artifacts.table import Table

TABLES: tuple[Table, ...] = (
    RAW_RED_TEAM,
    RAW_INSTRUCTIONS,
    EVALUATION_PROMPTS,
    PROMPTS,
    INSTRUCTIONS,
    RESPONSES,
    CRITIQUES,
    REVISIONS,
    CLEANED,
    DROPPED,
    EDITS,
    ASKED,
    SAMPLES,
    VERDICTS,
    PREFERENCES,
    EXCLUDED,
    HUMAN_PAIRS,
    ANSWERS,
)
