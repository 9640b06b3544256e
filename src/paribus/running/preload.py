"""Imported by the server that runs are forked from: quiet first, then all that is slow to import.

Importing it calls functions and freezes the heap. Nothing here may start a thread or
touch a device: what is forked must be able to do both itself.
"""

import gc

from paribus.models.quiet import quiet_libraries

quiet_libraries()

import peft  # noqa: E402, F401  # its import of bitsandbytes is what must be quiet

import paribus.running.run  # noqa: E402, F401

# What was imported stays. A collection in a child would look through a million objects, 0.4 s each
# time, and copy their pages.
gc.freeze()
