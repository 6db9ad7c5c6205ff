"""Channels of the chosen layer that are dead not only on the photo but on all of 200 val pictures."""

from functools import partial
from typing import Any

import gradio as gr

from demo.maps.layer_words import listed
from demo.maps.looking import Looking
from demo.markup import escape
from demo.sentences import failing_in_a_sentence
from demo.services import Services
from demo.text import label, language_of, say

PICTURES = 200
BATCH = 8  # pictures at a time; others' photos come in between
NO_PROGRESS = gr.Progress()  # gradio puts another in its place in each call


def dead_section(services: Services, looking: Looking) -> None:
    """Builds a closed section with a button."""
    with gr.Accordion(label("maps_dead"), open=False, elem_id="maps-dead-part"):
        button = gr.Button(label("maps_dead_go"), size="sm", elem_id="maps-dead-go")
        told = gr.HTML("", elem_id="maps-dead")

    @failing_in_a_sentence
    def ask(name: str, layer: str, request: gr.Request, progress: gr.Progress = NO_PROGRESS) -> str:
        language = language_of(request)
        reading, unit = say("maps_dead_reading", language), say("maps_pictures", language)

        def report(done: int, total: int) -> None:
            progress((done, total), desc=reading, unit=unit)

        return f'<p class="note" role="status">{escape(dead_sentence(services, name, layer, language, report))}</p>'

    button.click(
        ask,
        [looking.model, looking.layer],
        told,
        concurrency_id="dead channels",
        concurrency_limit=2,
        api_visibility="private",
    )


def dead_sentence(services: Services, model: str, layer: str, language: str, report: Any = None) -> str:
    """Which channels of a layer are above zero on none of up to 200 val pictures of the model's own data set.

    Raises DatasetError where those are not here.
    """
    services.ready()
    from resnet_core.activations.layers import relu_beside
    from resnet_core.activations.picture_sample import load_sample, own_pictures
    from resnet_core.activations.statistics import dead_in_all

    classifier = services.classifier(model)
    plain = relu_beside(classifier.model, layer) == "none"
    if plain and not services.desk.run(partial(_never_negative, classifier, layer)):
        return say("maps_dead_meaningless", language, layer=layer)
    checkpoint = classifier.checkpoint
    dataset = own_pictures(checkpoint, services.data_dir, allow_paths=services.local)
    sample = load_sample(dataset, "val", checkpoint.preprocessing, most=PICTURES, progress=report)
    starts = range(0, len(sample), BATCH)

    def told(done: int) -> None:
        if report:
            report(done, len(sample))

    batches = (sample.inputs(range(start, min(start + BATCH, len(sample)))) for start in starts)
    found = dead_in_all(classifier.model, batches, layer, told=told, in_turn=services.desk.run)
    words = {"layer": layer, "total": len(found.dead), "pictures": found.pictures, "dataset": sample.dataset}
    if not found.indices:
        return say("maps_dead_none", language, **words)
    return say("maps_dead_all", language, count=len(found.indices), which=listed(list(found.indices)), **words)


def _never_negative(classifier: Any, layer: str) -> bool:
    """Whether the layer, such as a pooling behind a ReLU, gives nothing below zero for noise."""
    import torch

    from resnet_core.activations.capture import capture_activations

    crop = classifier.checkpoint.preprocessing.crop
    noise = torch.randn(1, 3, crop, crop, generator=torch.Generator().manual_seed(0))
    return not bool((capture_activations(classifier.model, noise, [layer])[layer] < 0).any())
