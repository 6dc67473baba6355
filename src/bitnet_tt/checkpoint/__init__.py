"""Files to ModelWeights and back: find a model, read and check its checkpoint, write it in another format."""

from bitnet_tt.checkpoint.checkpoint import Checkpoint, CheckpointFile
from bitnet_tt.checkpoint.hub import resolve
from bitnet_tt.checkpoint.save_packed import save_packed

__all__ = ["Checkpoint", "CheckpointFile", "resolve", "save_packed"]
