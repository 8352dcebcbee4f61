"""What is trained."""

from __future__ import annotations

from infossl.methods.joint_embedding import JointEmbedding, Outputs, joint_embedding

__all__ = ["JointEmbedding", "Outputs", "joint_embedding"]
