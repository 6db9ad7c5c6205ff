"""Every word the pages show, in English and Chinese.

Fixed labels go through `LABELS` (Gradio picks the browser's language); sentences made on the server through `say`.
"""

from typing import Any

import gradio as gr

# key: (English, Chinese)
_WORDS: dict[str, tuple[str, str]] = {
    "classify_tab": ("Classify", "识别"),
    "train_tab": ("Train", "训练"),
    "maps_tab": ("Feature maps", "特征图"),
    "photo": ("Photo", "照片"),
    "examples": ("Or try one of these", "或试试这些图片"),
    "model": ("Model", "模型"),
    "seen": ("As the network saw it", "网络看到的图像"),
    "top_k": ("Answers shown", "显示的答案数"),
    "more": ("More", "更多"),
    "dataset": ("Data", "数据集"),
    "network": ("Network", "网络"),
    "preset": ("Preset", "预设"),
    "epochs": ("Epochs", "轮数"),
    "batch_size": ("Batch size", "批大小"),
    "learning_rate": ("Learning rate", "学习率"),
    "automatic": ("automatic", "自动"),
    "start": ("Start", "开始"),
    "pause": ("Pause", "暂停"),
    "resume": ("Resume", "继续"),
    "stop": ("Stop now", "立即停止"),
    "stop_epoch": ("Stop after this epoch", "本轮后停止"),
    "run": ("Run", "训练记录"),
    "newest_run": ("the newest", "最新"),
    "image_size": ("Picture size (px)", "图像尺寸（像素）"),
    "optimizer": ("Optimizer", "优化器"),
    "schedule": ("Learning-rate schedule", "学习率调度"),
    "augment": ("Augmentation", "数据增强"),
    "pretrained": ("Start from ImageNet weights", "从 ImageNet 权重开始"),
    "residual": ("Skip connections (off: the plain twin)", "残差连接（关闭：无残差的对照网络）"),
    "freeze": ("Keep weights up to", "冻结到此阶段"),
    "memory_format": ("Memory format", "内存格式"),
    "compile": ("Compile with torch.compile", "用 torch.compile 编译"),
    "seed": ("Seed", "随机种子"),
    "device": ("Device", "设备"),
    "precision": ("Precision", "精度"),
    "run_name": ("Name of the run", "训练名称"),
    "own_data": ("Your own pictures: a zip with one folder per class", "自己的图片：每类一个文件夹的 zip"),
    "own_folder": ("or a folder on this machine", "或本机上的文件夹"),
    "layer": ("Layer", "层"),
    "layers_hint": ("The network layer by layer: click a row to look into it", "逐层查看网络：点击一行查看该层"),
    "scale": ("Colour scale", "颜色标尺"),
    "scale_channel": ("each channel its own", "每个通道独立"),
    "scale_shared": ("one for all channels", "所有通道共用"),
    "channel": ("Channel", "通道"),
    "sheet": ("All channels; click one to enlarge it", "全部通道；点击一个放大"),
    "heat": ("Where it looked (Grad-CAM)", "关注区域（Grad-CAM）"),
    "page": ("Page", "页"),
}

# sentences with values, made on the server
_SENTENCES: dict[str, tuple[str, str]] = {
    "loading": ("Loading the network …", "正在加载网络…"),
    "drop_photo": ("Drop a flower photo to see what it is.", "放入一张花的照片，看看它是什么。"),
    "maps_empty": ("Drop a photo to see what every layer makes of it.", "放入一张照片，查看每一层的响应。"),
    "certain": ("Quite sure", "相当确定"),
    "likely": ("Probably", "很可能"),
    "unsure": ("Not sure", "不太确定"),
    "unknown": ("I do not know this", "我不认识这个"),
    "nearest": ("nearest: {label}", "最接近：{label}"),
    "took": ("answered in {milliseconds} ms by {engine}", "用时 {milliseconds} 毫秒（{engine}）"),
    "queued": (
        "Another run is under way; this one is number {place} in the queue.",
        "已有训练在进行；此训练排在第 {place} 位。",
    ),
    "no_run": ("No run is under way.", "没有正在进行的训练。"),
    "shape": ("{channels} channels of {height}×{width}", "{channels} 个通道，每个 {height}×{width}"),
    "vector": ("{channels} numbers", "{channels} 个数值"),
    "stats": (
        "mean {mean:.3g} · spread {std:.3g} · from {minimum:.3g} to {maximum:.3g} · {zero:.0%} zeros",
        "均值 {mean:.3g} · 标准差 {std:.3g} · 范围 {minimum:.3g} 至 {maximum:.3g} · {zero:.0%} 为零",
    ),
    "page_of": ("channels {first}–{last} of {total}", "第 {first}–{last} 个通道，共 {total} 个"),
    "channel_line": ("Channel {channel} of {layer}", "{layer} 的通道 {channel}"),
    "heat_title": ("Where it looked (Grad-CAM)", "关注区域（Grad-CAM）"),
    "heat_line": ("What spoke for “{label}” at {layer}", "{layer} 处支持“{label}”的区域"),
    "preprocessing": ("How the photo reaches the network: {how}", "照片如何进入网络：{how}"),
}

LABELS = gr.I18n(
    en={key: words[0] for key, words in _WORDS.items()},
    zh={key: words[1] for key, words in _WORDS.items()},
    **{"zh-CN": {key: words[1] for key, words in _WORDS.items()}},
)


def label(key: str) -> Any:
    """A fixed label in the language of whoever opens the page."""
    assert key in _WORDS, key
    return LABELS(key)


def language_of(request: gr.Request | None) -> str:
    """ "zh" for a browser that prefers Chinese, else "en"."""
    accepted = request.headers.get("accept-language", "") if request is not None else ""
    return "zh" if accepted.lower().startswith("zh") else "en"


def say(key: str, language: str = "en", **values: Any) -> str:
    """The sentence in that language with its values filled in."""
    english, chinese = _SENTENCES[key]
    return (chinese if language == "zh" else english).format(**values)
