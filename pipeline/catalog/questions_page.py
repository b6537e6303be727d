"""The documentation's page of questions with the answers that a workspace gives.

`python -m pipeline.catalog.questions_page WORKSPACE` writes docs/sql.md from docs/questions.sql.
Not part of `make docs`: its answers are measured, so it needs the workspace of a finished study.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from pipeline.catalog import answer
from pipeline.catalog.questions import Question, read_questions
from pipeline.catalog.warehouse import query
from pipeline.workspace import Workspace

DOCS = Path(__file__).resolve().parents[2] / "docs"
ROWS = 15

_HEAD = """# Twenty-two questions, in SQL

Made of `docs/questions.sql`; the answers are those of the study `examples/questions.yaml` on the
embedded model:

```
sae --workspace questions run examples/questions.yaml
python -m pipeline.catalog.questions_page questions
```

(`sae run` ends with status 1: one recipe is there to diverge, for question 18.) The answers show
what an answer looks like. How large it is on another machine or another Python's standard
library differs a little; one small model and three seeds carry no conclusion about others. Columns
are explained in `docs/schema.md`, metrics in `docs/metrics.md`. To ask one of them yourself:
`sae sql "SELECT ..."`, with `--format csv|json|parquet` for all rows and digits.
"""


def questions() -> list[Question]:
    """The questions of docs/questions.sql."""
    return read_questions((DOCS / "questions.sql").read_text(encoding="utf-8"))


def questions_page(answered: Callable[[Question], str]) -> str:
    """The page, in Markdown; `answered` gives a question's answer as the text of a table."""
    sections = [
        f"## {number}. {one.title}\n\n{one.remark}\n\n```sql\n{one.sql}\n```\n\n"
        f"```text\n{answered(one).rstrip()}\n```"
        for number, one in enumerate(questions(), start=1)
    ]
    return "\n\n".join([_HEAD.rstrip("\n"), *sections]) + "\n"


def answers_on(page: str) -> list[str]:
    """The answers that a page shows, in order."""
    return re.findall(r"^```text\n(.*?)\n```$", page, flags=re.MULTILINE | re.DOTALL)


def answer_of(workspace: Workspace, question: Question) -> str:
    """The answer's first rows as an aligned table, and how many there are."""
    rows = query(workspace, question.sql)
    shown = answer.render(rows.slice(0, ROWS), "table").decode().rstrip("\n").splitlines()
    if rows.num_rows > ROWS:
        shown[-1] = f"({ROWS} of {rows.num_rows} rows)"
    return "\n".join(shown)


def main(arguments: list[str]) -> None:
    """Writes docs/sql.md with the answers of the workspace that is named."""
    if len(arguments) != 1:
        raise SystemExit("usage: python -m pipeline.catalog.questions_page WORKSPACE")
    workspace = Workspace.open(Path(arguments[0]))
    text = questions_page(lambda question: answer_of(workspace, question))
    (DOCS / "sql.md").write_text(text, encoding="utf-8")
    print("wrote docs/sql.md")


if __name__ == "__main__":
    main(sys.argv[1:])
