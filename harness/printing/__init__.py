"""What commands answer, on the terminal and for programs. Reports have their own: `harness.report.show`.

One module for each kind of answer, each with `print_X(thing, console)` and `X_values(thing)`, plain values for JSON.
Decides nothing.
"""
