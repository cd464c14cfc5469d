from mss_core.systems.msspt.recipe import (
    AST,
    AST_PHASES,
    EMBEDDINGS,
    FULL_TAIL,
    MSSPT,
    SOURCES,
    STARTS,
    msspt_cnn,
    smoke,
)

__all__ = ["AST", "AST_PHASES", "EMBEDDINGS", "FULL_TAIL", "MSSPT", "SOURCES", "STARTS", "msspt_cnn", "smoke"]
