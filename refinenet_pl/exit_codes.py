"""Exit codes of commands, in addition to 0 for success and 1 for an error."""

# Stopped by SIGTERM, with its progress saved; the code that shells report for that signal.
STOPPED = 143
# Another process is training this run (EX_TEMPFAIL of sysexits.h).
BUSY = 75
# The training diverged: the run is finished, with a record without scores, and would diverge again.
DIVERGED = 65
