"""What somebody uploads, read and cleaned in memory: nothing here touches a disk (R1.3-4, R3.1-1).

`examined` tells what the bytes really are, takes out what nobody sees (scripts, places where a
picture was taken, embedded files), and returns every text for screening before anything is kept.
"""

from review.uploads.examining import examined
from review.uploads.kinds import LARGEST, Cleaned

__all__ = ["LARGEST", "Cleaned", "examined"]
