"""What each stage of a run does: reads files of finished stages, writes its own into its folder.

Stages meet only through files, so each can be run alone, repeated or replaced, and on several
processes the ones that only the first process runs need no other care.
"""
