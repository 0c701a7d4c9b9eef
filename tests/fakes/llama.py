"""llama.cpp's own server with tiny random weights: a real server, whose answers mean nothing.

with serve(folder) as url:              text alone
with serve(folder, sees=True) as url:    pictures and videos too
with serve(folder, sees=True, ffmpeg=False) as url:   it says that it takes videos, and can not

The weights are a llama of two layers over bytes, and a CLIP of two layers with an MLP behind it. The
server runs in a process of its own: `python -m tests.fakes.llama FOLDER [--sees]`.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.fakes import ffmpeg as fake_ffmpeg

CONTEXT = 2048
_WIDTH = 32  # of the text model; what the pictures are projected to
_SIDE, _PATCH = 32, 16  # of a picture: four tokens
PICTURE_TOKENS = (_SIDE // _PATCH) ** 2


@contextlib.contextmanager
def serve(folder: Path, *, sees: bool = False, ffmpeg: bool = True) -> Iterator[str]:
    """Gives the base URL of its API."""
    programs = folder / "bin"
    if ffmpeg:
        fake_ffmpeg.install(programs)
    environment = {**os.environ, "PATH": str(programs)}
    command = [sys.executable, "-m", "tests.fakes.llama", str(folder), *(["--sees"] * sees)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment
        )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().decode().strip()
        assert address.startswith("http"), (folder / "log").read_text(errors="replace")[-2000:]
        yield f"{address}/v1"
    finally:
        server.kill()
        server.communicate()


def _text_model(path: Path) -> None:
    import gguf

    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    kinds = [gguf.TokenType.UNKNOWN, *[gguf.TokenType.CONTROL] * 2, *[gguf.TokenType.BYTE] * 256]
    letters = [*map(chr, range(33, 127)), "\u2581"]
    kinds += [gguf.TokenType.NORMAL] * len(letters)
    layers, heads, inner = 2, 2, 64
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_WIDTH // heads)
    writer.add_vocab_size(len(kinds))
    writer.add_tokenizer_model("llama")
    writer.add_token_list([piece.encode() for piece in [*pieces, *letters]])
    writer.add_token_scores([0.0] * len(kinds))
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
    )
    weights = _Weights(writer, spread=0.4)
    weights.add("token_embd.weight", len(kinds), _WIDTH)
    weights.add("output.weight", len(kinds), _WIDTH)
    weights.ones("output_norm.weight", _WIDTH)
    for layer in range(layers):
        for name in ("attn_norm", "ffn_norm"):
            weights.ones(f"blk.{layer}.{name}.weight", _WIDTH)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            weights.add(f"blk.{layer}.{name}.weight", _WIDTH, _WIDTH)
        for name in ("ffn_gate", "ffn_up"):
            weights.add(f"blk.{layer}.{name}.weight", inner, _WIDTH)
        weights.add(f"blk.{layer}.ffn_down.weight", _WIDTH, inner)
    weights.save()


def _picture_model(path: Path) -> None:
    import gguf

    layers, width, inner = 2, 16, 32
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "mlp")
    writer.add_bool("clip.use_gelu", True)
    for name, value in {
        "image_size": _SIDE,
        "patch_size": _PATCH,
        "embedding_length": width,
        "feed_forward_length": inner,
        "projection_dim": _WIDTH,
        "attention.head_count": 2,
        "block_count": layers,
    }.items():
        writer.add_uint32(f"clip.vision.{name}", value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    for name in ("image_mean", "image_std"):
        writer.add_array(f"clip.vision.{name}", [0.5, 0.5, 0.5])
    weights = _Weights(writer, spread=0.2)
    weights.add("v.patch_embd.weight", width, 3, _PATCH, _PATCH)
    weights.add("v.position_embd.weight", PICTURE_TOKENS + 1, width)
    weights.add("v.class_embd", width)
    for name in ("v.pre_ln", "v.post_ln"):
        weights.norm(name, width)
    for layer in range(layers):
        for name in ("ln1", "ln2"):
            weights.norm(f"v.blk.{layer}.{name}", width)
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            weights.linear(f"v.blk.{layer}.{name}", width, width)
        weights.linear(f"v.blk.{layer}.ffn_up", inner, width)
        weights.linear(f"v.blk.{layer}.ffn_down", width, inner)
    weights.linear("mm.0", _WIDTH, width)
    weights.linear("mm.2", _WIDTH, _WIDTH)
    weights.save()


class _Weights:
    """Random ones, the same on every run."""

    def __init__(self, writer, *, spread: float) -> None:
        import numpy as np

        self._writer = writer
        self._spread = spread
        self._numpy = np
        self._random = np.random.default_rng(7)

    def add(self, name: str, *shape: int) -> None:
        values = self._random.normal(0, self._spread, shape)
        self._writer.add_tensor(name, values.astype(self._numpy.float32))

    def ones(self, name: str, size: int) -> None:
        self._writer.add_tensor(name, self._numpy.ones(size, self._numpy.float32))

    def linear(self, name: str, rows: int, columns: int) -> None:
        self.add(f"{name}.weight", rows, columns)
        self.add(f"{name}.bias", rows)

    def norm(self, name: str, size: int) -> None:
        self.ones(f"{name}.weight", size)
        self.add(f"{name}.bias", size)

    def save(self) -> None:
        self._writer.write_header_to_file()
        self._writer.write_kv_data_to_file()
        self._writer.write_tensors_to_file()
        self._writer.close()


def _main(folder: Path, *, sees: bool) -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(folder / "text.gguf")
    _text_model(folder / "text.gguf")
    if sees:
        _picture_model(folder / "pictures.gguf")
        params.mmproj.path = str(folder / "pictures.gguf")
    params.model_alias = ["tiny"]
    params.n_ctx = CONTEXT
    params.n_parallel = 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.warmup = params.fit_params = False
    params.port = 0
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)  # noqa: T201 - for who started it
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sees="--sees" in sys.argv)
