"""The books as people and other programs read them: statements, exports, charts, a page to open.

Law of this folder: it is a user of the public API like any other, reads and never writes, and keeps
no more in memory than what it shows. What a stranger has written, such as a reference, is made
harmless before it goes into a file that another program opens.
"""

from payplatform.reports._exports import entries_csv, payments_csv
from payplatform.reports._figures import Day, Figures, figures
from payplatform.reports._page import report_html
from payplatform.reports._statements import statement_csv, statement_form, statement_markdown

__all__ = [
    "Day",
    "Figures",
    "entries_csv",
    "figures",
    "payments_csv",
    "report_html",
    "statement_csv",
    "statement_form",
    "statement_markdown",
]
