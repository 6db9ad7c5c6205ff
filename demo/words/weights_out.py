"""Words of “Models”, taking a model away. key: (English, Chinese)"""

LABELS: dict[str, tuple[str, str]] = {
    "export_title": ("### Take a model away", "### 导出模型"),
    "export_format": ("Format", "格式"),
    "export_go": ("Export", "导出"),
    "export_card": ("Model card", "模型卡片"),
    "export_card_file": ("Download the model card", "下载模型卡片"),
    "export_onnx": ("ONNX (onnxruntime and others)", "ONNX（onnxruntime 等）"),
    "export_pt2": (".pt2 (torch alone, with predict.py)", ".pt2（仅需 torch，附 predict.py）"),
    "export_safetensors": ("safetensors (ResNet Lab elsewhere)", "safetensors（其他机器上的 ResNet Lab）"),
    "export_hint": (
        "Press Export: the model is written with its classes and how to prepare a photo, opened again and asked eight "
        "test pictures. That takes about half a minute.",
        "点击“导出”：模型将连同类别与照片预处理方式一起写入文件，再重新打开并用八张测试图片检验，约需半分钟。",
    ),
}

SENTENCES: dict[str, tuple[str, str]] = {
    "export_same": (
        "The same answers everywhere: {count} test pictures, no probability differs by more than {largest}.",
        "各处结果一致：{count} 张测试图片，任何概率的差异都不超过 {largest}。",
    ),
    "export_differs": (
        "The answers differ, so there is nothing to download.",
        "结果不一致，因此不提供下载。",
    ),
    "export_written": (
        "{megabytes} MB, written in {seconds} s; the zip holds {files}.",
        "{megabytes} MB，用时 {seconds} 秒；压缩包内含 {files}。",
    ),
    "export_asked": ("Asked", "询问方式"),
    "export_largest": ("Largest difference", "最大差异"),
    "export_download": ("Download {name} ({megabytes} MB)", "下载 {name}（{megabytes} MB）"),
    "export_app": ("the app", "本应用"),
    "export_command_line": ("the command line", "命令行"),
    "export_api": ("the HTTP API", "HTTP 接口"),
    "export_file": ("the exported file", "导出的文件"),
    "export_file_score": ("its “I do not know this” score", "其“不认识”评分"),
    "export_by": ("{way}, by {engine}", "{way}（由 {engine} 计算）"),
    "export_below": ("below {share}", "小于 {share}"),
}
