"""What each JSON record of a run holds, field by field, and the check that holds a record against its type.

A field that is `NotRequired` is absent from records of other kinds of runs, or of older versions of runner. A record
may hold more than what is named here; readers ignore it.
"""
