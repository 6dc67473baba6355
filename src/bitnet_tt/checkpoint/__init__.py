"""Files to ModelWeights: find a model, read and check its checkpoint, write it in another format."""

from bitnet_tt.checkpoint.checkpoint import Checkpoint, CheckpointFile
from bitnet_tt.checkpoint.convert import save_packed
from bitnet_tt.checkpoint.hub import resolve

__all__ = ["Checkpoint", "CheckpointFile", "resolve", "save_packed"]
