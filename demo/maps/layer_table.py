"""The layers of a network in the order they run, as rows of a table and as choices of a dropdown."""

import pandas as pd

from demo.services import Services

COLUMNS = ["layer", "kind", "output", "parameters", "MACs"]


def layer_names(services: Services, model: str) -> list[str]:
    """The names of a model's layers that can be looked into, in the order they run."""
    from resnet_core.activations.layers import list_layers

    classifier = services.classifier(model)
    return list(list_layers(classifier.model, classifier.checkpoint.preprocessing.crop))


def layer_table(services: Services, model: str) -> pd.DataFrame:
    """The layers of a model that can be looked into, in the order they run, at the model's own picture size."""
    from resnet_core.activations.layers import list_layers
    from resnet_core.models.describe import describe

    classifier = services.classifier(model)
    size = classifier.checkpoint.preprocessing.crop
    rows = {row.name: row for row in describe(classifier.model, size).layers}
    names = [name for name in list_layers(classifier.model, size) if name in rows]
    return pd.DataFrame(
        [
            [
                name,
                rows[name].kind,
                "×".join(map(str, rows[name].output_shape)),
                f"{rows[name].parameters:,}",
                f"{rows[name].macs:,}",
            ]
            for name in names
        ],
        columns=COLUMNS,
    )
