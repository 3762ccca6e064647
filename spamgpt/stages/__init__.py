"""The stages of the pipeline. Each has a settings dataclass and `run(settings, workspace, …)`.

What is slow to import (torch, pandas, scikit-learn) is imported when a stage runs, so that the
command line can read the settings' defaults without it.
"""
