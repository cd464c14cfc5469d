"""``python -m mss_core.store``: what a store holds."""

import signal
import sys

from mss_core.store.command import main

signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # a reader that goes away, as `| head` does, is no error
sys.exit(main())
