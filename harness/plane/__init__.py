"""The fault plane of one arm: every edge passes through its container, where it is counted, logged and harmed.

`routes` says where edges run, `container` what the container needs, `client.Plane` reaches a running one. Only
`harness.driver` is asked for containers; faults (`harness.faults`) and the witness (`harness.witness`) stand on this.
"""
