"""Words of “Models”, bringing weights from elsewhere. key: (English, Chinese)"""

LABELS: dict[str, tuple[str, str]] = {
    "weights_tab": ("Models", "模型"),
    "adopt_title": ("### Bring your own weights", "### 导入自己的权重"),
    "adopt_intro": (
        "Drop a file to see which network it is; adopted, it can be asked in every tab.",
        "放入文件，查看它属于哪种网络；导入后即可在各个标签页中使用。",
    ),
    "adopt_file": ("Weights: .pth, .pt or .safetensors", "权重文件：.pth、.pt 或 .safetensors"),
    "adopt_class_file": ("Class names: class_indices.json", "类别名称：class_indices.json"),
    "adopt_typed": ("or type them, in the order of the training", "或按训练时的顺序输入"),
    "adopt_typed_example": ("daisy, dandelion, roses …", "雏菊，蒲公英，玫瑰…"),
    "adopt_name": ("Name of the model", "模型名称"),
    "adopt_button": ("Adopt", "导入"),
    "adopt_network": ("Fits more than one network; take it as", "适合多个网络；按此导入"),
    "adopt_size": ("Picture size (px)", "图像尺寸（像素）"),
    "adopt_normalization": ("Colours are normalised by", "颜色归一化方式"),
    "adopt_imagenet": ("ImageNet's mean and spread", "ImageNet 的均值和标准差"),
    "adopt_cifar10": ("CIFAR-10's mean and spread", "CIFAR-10 的均值和标准差"),
    "adopt_half": ("mean 0.5, spread 0.5", "均值 0.5，标准差 0.5"),
    "adopt_none": ("nothing: 0 to 1", "不归一化：0 到 1"),
    "adopt_more": ("How pictures reach the network", "图片如何进入网络"),
    "adopt_shelf": ("On the shelf", "已导入的模型"),
    "adopt_remove": ("Remove …", "删除…"),
    "adopt_keep": ("Keep it", "保留"),
}

SENTENCES: dict[str, tuple[str, str]] = {
    "adopt_drop": (
        "Drop weights from torchvision, a tutorial or your own training. Nothing in the file is run.",
        "放入来自 torchvision、教程或自己训练的权重。文件中的任何代码都不会运行。",
    ),
    "adopt_fits": (
        "“{file}” fits {title}: all {tensors} tensors match.",
        "“{file}”适合 {title}：{tensors} 个张量全部匹配。",
    ),
    "adopt_ours": ("“{file}” is a checkpoint of ResNet Lab: {title}.", "“{file}”是 ResNet Lab 的检查点：{title}。"),
    "adopt_refused": ("Cannot be adopted", "无法导入"),
    "adopt_row_network": ("Network", "网络"),
    "adopt_row_classes": ("Classes", "类别"),
    "adopt_row_weights": ("Weights", "权重"),
    "adopt_row_names": ("Layer names", "层名称"),
    "adopt_row_pictures": ("Pictures", "图片"),
    "adopt_row_left_out": ("Left out", "未使用"),
    "adopt_row_match": ("Layers", "层"),
    "adopt_match": (
        "{matched} match, {shapes} of other shape, {missing} missing, {unexpected} without a place",
        "{matched} 个匹配，{shapes} 个形状不同，{missing} 个缺失，{unexpected} 个无处可放",
    ),
    "adopt_nearest": ("{title} is the nearest", "最接近 {title}"),
    "adopt_or": ("{title}; fits as well: {others}", "{title}；同样适合：{others}"),
    "adopt_weights": ("{parameters} parameters in {precision}", "{parameters} 个参数，{precision}"),
    "adopt_under": ("{what}, stored under “{where}”", "{what}，位于“{where}”之下"),
    "adopt_names_given": ("{count}, as you named them: {names}", "{count} 个，按您给出的名称：{names}"),
    "adopt_names_file": ("{count}, named in the file: {names}", "{count} 个，文件中的名称：{names}"),
    "adopt_names_imagenet": ("{count}, those of ImageNet: {names}", "{count} 个，ImageNet 的类别：{names}"),
    "adopt_names_numbers": (
        "{count} without names; give them, else they are called class 0, class 1 …",
        "{count} 个，没有名称；请给出名称，否则将称为 class 0、class 1…",
    ),
    "adopt_names_miscounted": (
        "{count}, but the file names another number of classes, so its names were left; give them, else they are "
        "called class 0, class 1 …",
        "{count} 个，但文件中的类别名称数量不符，已忽略；请给出名称，否则将称为 class 0、class 1…",
    ),
    "adopt_no_head": ("unknown: there is no classifier", "未知：没有分类层"),
    "adopt_from_torchvision": ("torchvision's", "torchvision 的命名"),
    "adopt_from_cifar repositories": (
        "of the common CIFAR repositories, translated",
        "常见 CIFAR 代码库的命名，已转换",
    ),
    "adopt_from_tutorial": ("of the CIFAR-10 tutorial, translated", "CIFAR-10 教程的命名，已转换"),
    "adopt_prefix": ("{names}; the prefix {prefix} was taken off", "{names}；已去掉前缀 {prefix}"),
    "adopt_left_out": ("{count} tensors that belong to no network: {names}", "{count} 个不属于网络的张量：{names}"),
    "adopt_guess": ("{how} This is a guess; change it below.", "{how} 这是推测，可在下方修改。"),
    "adopt_done": ("Adopted as “{title}”", "已导入为“{title}”"),
    "adopt_done_line": (
        "Choose it as the model in any tab. The uploaded file has been removed.",
        "可在任意标签页中选择该模型。上传的文件已删除。",
    ),
    "adopt_gone": (
        "This file is no longer here; drop it again.",
        "该文件已不在；请重新放入。",
    ),
    "adopt_shelf_empty": (
        "No models of your own yet; those you adopt or teach are listed here.",
        "还没有自己的模型；导入或自定义得到的模型会列在这里。",
    ),
    "adopt_sure": ("Remove “{title}” for good", "永久删除“{title}”"),
}
