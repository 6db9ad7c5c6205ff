"""Networks: ResNets for ImageNet and CIFAR, their registry, layer tables and pretrained weights.

Import from the modules: `zoo` lists networks without importing torch, which a page needs before it can wait for it.
"""
