"""Says what is on photos: python predict.py PHOTO …   Needs torch and pillow, and the model beside this file."""

import json
import sys
from pathlib import Path

import torch
from PIL import Image, ImageOps

extra = {"resnet_lab.json": ""}
network = torch.export.load(str(Path(__file__).with_name("model.pt2")), extra_files=extra).module()
about = json.loads(extra["resnet_lab.json"])
resize, crop = about["preprocessing"]["resize"], about["preprocessing"]["crop"]
for photo in sys.argv[1:] or sys.exit(__doc__):
    opened = Image.open(photo)
    opened.draft(None, (-(-5 * resize // 2),) * 2)  # a large JPEG is decoded at a fraction of its size
    upright = ImageOps.exif_transpose(opened).convert("RGBA")
    image = Image.new("RGB", upright.size, "white")
    image.paste(upright, mask=upright.getchannel("A"))
    image = image.resize([int(resize * side / min(image.size)) for side in image.size], Image.Resampling.BILINEAR)
    left, top = (round((side - crop) / 2) for side in image.size)
    square = image.crop((left, top, left + crop, top + crop))
    pixels = torch.frombuffer(bytearray(square.tobytes()), dtype=torch.uint8).view(1, crop, crop, 3)
    with torch.inference_mode():
        [probabilities], [score] = network(pixels.permute(0, 3, 1, 2).contiguous())
    unknown = about["unknown_threshold"] is not None and score < about["unknown_threshold"]
    print(f"{photo}{': I do not know this; nearest:' if unknown else ''}")
    for index in probabilities.argsort(descending=True).tolist()[:10]:
        print(f"{probabilities[index]:9.2%}  {about['class_names'][index]}")
