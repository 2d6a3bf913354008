from .mf import MF
from .ncf import NCF

MODELS = {"mf": MF, "ncf": NCF}


def build_model(name, **kwargs):
    if name not in MODELS:
        raise KeyError(f"unknown model {name!r}; choose one of {sorted(MODELS)}")
    return MODELS[name](**kwargs)
