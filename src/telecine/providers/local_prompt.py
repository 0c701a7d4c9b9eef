"""What the embedded models can take from a prompt: parts, language, time range and form.

No language model reads it. Known phrases are looked for and taken out; whatever is left that is
not mere politeness is what the prompt asks for and will not get, and the caller is told so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from telecine.providers.local_report import FormName, PartName

_ALL: tuple[PartName, ...] = ("speech", "text", "shots")

# Longer prompts are not looked at to their end; they ask for more than can be chosen anyway.
_LOOKED_AT_CHARACTERS = 2000
# A prompt of which so many words mean nothing here names parts by accident.
_LEFT_FOR_CHANCE = 8


@dataclass(frozen=True, slots=True)
class Span:
    """Seconds of each video. A negative `start` counts from its end."""

    start: float = 0.0
    end: float | None = None

    def within(self, seconds: float | None) -> Span | None:
        """The same from the start of a video this long; None: its length must be known."""
        if self.start >= 0:
            return self
        return None if seconds is None else Span(max(0.0, seconds + self.start), seconds)


@dataclass(frozen=True, slots=True)
class Wish:
    """How a prompt is understood.

    `language` is what the speech is expected to be in; with `is_filter` nothing else is reported.
    `left` are the words that nothing could be made of.
    """

    parts: tuple[PartName, ...] = _ALL
    form: FormName = "report"
    language: str | None = None
    is_filter: bool = False
    span: Span = Span()
    left: tuple[str, ...] = ()


def understand(prompt: str, offered: Iterable[PartName] = _ALL) -> Wish:
    """`offered`: what the model does at all; a prompt that names none of it gets all of it."""
    text = _Text(prompt[:_LOOKED_AT_CHARACTERS])
    span = _span(text)
    form = _form(text)
    language, is_filter = _language(text)
    offered = tuple(offered)
    named, unwanted = _parts(text)
    is_timed = text.take(_TIMED) is not None
    left = text.left()
    if len(left) > _LEFT_FOR_CHANCE:
        named = {}
    wanted = tuple(part for part in offered if part in named) or tuple(
        part for part in offered if part not in unwanted
    )
    refused = tuple(name for part, name in named.items() if part not in offered)
    if form in ("srt", "vtt"):
        wanted = tuple(p for p in wanted if p in named and p != "shots") or wanted[:1]
    elif form is None:
        is_plain = len(wanted) == 1 and wanted != ("shots",) and not is_timed
        form = "plain" if is_plain else "report"
    return Wish(
        parts=wanted or offered,
        form=form,
        language=language,
        is_filter=is_filter,
        span=span,
        left=(*refused, *left),
    )


class _Text:
    """A prompt that gets shorter as phrases are understood."""

    def __init__(self, prompt: str) -> None:
        self._rest = f" {prompt.casefold()} "

    def find(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        return pattern.search(self._rest)

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """The first match, taken out together with all others."""
        if match := self.find(pattern):
            self.replace(pattern, " | ")
        return match

    def replace(self, pattern: re.Pattern[str], by: str) -> None:
        self._rest = pattern.sub(by, self._rest)

    def left(self) -> list[str]:
        rest = _FILLER.sub(" ", self._rest)
        return re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", rest)


_NO_SPACES = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def _words(*phrases: str) -> re.Pattern[str]:
    """Any of these phrases, as whole words; those in scripts without spaces anywhere."""
    whole = [phrase for phrase in phrases if not _NO_SPACES.search(phrase)]
    loose = [phrase for phrase in phrases if _NO_SPACES.search(phrase)]
    return re.compile("|".join([*([rf"\b(?:{'|'.join(whole)})\b"] if whole else []), *loose]))


# ---------------------------------------------------------------- parts

_PARTS: Mapping[PartName, re.Pattern[str]] = {
    # First: "on-screen text", "subtitles on screen" are not the spoken word.
    "text": _words(
        r"(?:on[- ]?screen|visible|displayed|written|burned[- ]in) (?:text|words|captions|subtitles|titles)",
        r"(?:text|words|writing|captions|titles) (?:shown |displayed |visible |that (?:is|are) )*(?:on|in) (?:the )?(?:screen|frames?|picture|slides?|images?)",
        r"on[- ]?screen|text overlays?|overlay text|ocr|slides?|captions?|signs?|title cards?|titles",
        r"read (?:all |out )?(?:the |any )?text|read|texts?",
        r"bildschirmtext\w*|eingeblendete\w* text\w*|texte?|untertitelung im bild|folien?|einblendung\w*",
        r"texto en pantalla|textos?|diapositivas?|rótulos?",
        r"texte à l['’]écran|textes?|diapositives?|incrustations?",
        r"testo sullo schermo|testi|testo|diapositive",
        r"texto na tela|legendas na tela|slides",
        r"画面の?文字|文字|テキスト|テロップ",
        r"屏幕(?:上的)?文字|画面文字|文字|字样|幻灯片",
        r"화면\s?텍스트|글자|자막\s?텍스트",
    ),
    "speech": _words(
        r"transcri(?:be|bes|bed|bing|pts?|ptions?)|speech|spoken(?: words?)?|speak(?:s|ing|ers?)?|dictat\w+",
        r"sa(?:y|ys|id|ying)|narrat(?:ion|or)s?|voice(?:[- ]?over)?s?|dialog(?:ue)?s?|subtitles?|talk(?:s|ing)?",
        r"audio|lyrics",
        r"transkribier\w*|transkript\w*|abschrift|sprache|gesprochen\w*|gesagt\w*|sagt|untertiteln?|verschriftlich\w*",
        r"transcrib\w+|transcripci\w+|habla|hablado|dice[n]?|subtítulos?|voz",
        r"transcri\w+|paroles?|parlé|dit|sous-titres?|voix",
        r"trascri\w+|parlato|dice|sottotitoli|voce",
        r"transcrev\w+|transcri\w+|fala|falado|diz|legendas?|voz",
        r"文字起こし|書き起こし|発話|音声|字幕|話し",
        r"转录|轉錄|转写|听写|语音|說話|说话|字幕",
        r"받아\s?쓰기|전사|음성|자막|말하",
    ),
    "shots": _words(
        r"shots?|scenes?|cuts?|scene changes?|shot changes?|edits?",
        r"einstellung\w*|szenen?|schnitte?n?",
        r"escenas?|planos?|cortes?",
        r"scènes?|coupes?",
        r"scene|scena|inquadratur\w+|tagli",
        r"cenas?",
        r"シーン|カット|ショット",
        r"镜头|場景|场景",
        r"장면|컷",
    ),
}
_NOT = r"(?:without|no|not|except|excluding|ignor(?:e|ing)|skip(?:ping)?|omit|ohne|nicht|sin|sans|senza|sem)"
_NOT_PARTS: Mapping[PartName, re.Pattern[str]] = {
    part: re.compile(rf"\b{_NOT} (?:any |the |its |den |die |das |el |la |le |les )*(?:{p.pattern})")
    for part, p in _PARTS.items()
}
# What Japanese, Chinese and Korean have one word for belongs to speech unless the screen is named.
_FULL_TRANSCRIPTION = _words(r"文字起こし", r"書き起こし")


def _parts(text: _Text) -> tuple[dict[PartName, str], frozenset[PartName]]:
    """What is named, with the words that name it, and what is not wanted."""
    unwanted = frozenset(part for part, pattern in _NOT_PARTS.items() if text.take(pattern))
    named: dict[PartName, str] = {}
    if match := text.take(_FULL_TRANSCRIPTION):
        named["speech"] = match.group()
    for part, pattern in _PARTS.items():
        if match := text.take(pattern):
            named.setdefault(part, match.group())
    return named, unwanted


# ---------------------------------------------------------------- form

_FORMS: tuple[tuple[FormName, re.Pattern[str]], ...] = (
    ("json", _words(r"json(?: (?:object|document|format|array))?")),
    ("srt", _words(r"\.?srt(?: (?:file|format|subtitles?))?", r"subrip")),
    ("vtt", _words(r"\.?(?:web)?vtt(?: (?:file|format|subtitles?))?")),
    (
        "plain",
        _words(
            r"plain[- ]?text|plain|(?:text|words) only|only (?:the )?(?:text|words)|raw text",
            r"(?:without|no) (?:any )?time ?(?:stamps?|codes?|s)?",
            r"nur text|ohne zeit\w*|solo texto|sin marcas de tiempo|texte brut|solo testo",
        ),
    ),
    ("report", _words(r"report|overview|bericht|informe|rapport|rapporto|relatório|報告|报告")),
)
_TIMED = _words(
    r"time[- ]?(?:stamp|code)s?|time[- ]?(?:stamp|cod)ed|(?:with|and) (?:the )?times?|when",
    r"zeit(?:stempel|marken?|angaben?)|wann|marcas de tiempo|cuándo|horodat\w+|quand|quando",
    r"タイムスタンプ|时间戳|時間",
)


def _form(text: _Text) -> FormName | None:
    for name, pattern in _FORMS:
        if text.take(pattern):
            return name
    return None


# ---------------------------------------------------------------- language

_LANGUAGES: Mapping[str, str] = {
    "ar": "arabic|arabisch|árabe|arabe",
    "bg": "bulgarian",
    "ca": "catalan|català|catalán",
    "cs": "czech|tschechisch|čeština",
    "cy": "welsh|cymraeg",
    "da": "danish|dänisch|dansk",
    "de": "german|deutsch(?:e[nrs]?)?|alemán|allemand|tedesco|alemão|ドイツ語|德语",
    "el": "greek|griechisch",
    "en": "english|englisch(?:e[nrs]?)?|inglés|anglais|inglese|inglês|英語|英语",
    "es": "spanish|castilian|spanisch(?:e[nrs]?)?|español|castellano|espagnol|spagnolo|espanhol|スペイン語|西班牙语",
    "fa": "persian|farsi",
    "fi": "finnish|finnisch|suomi",
    "fr": "french|französisch(?:e[nrs]?)?|francés|français|francese|francês|フランス語|法语",
    "gl": "galician|gallego|galego",
    "he": "hebrew|hebräisch",
    "hi": "hindi",
    "hr": "croatian",
    "hu": "hungarian|ungarisch|magyar",
    "id": "indonesian",
    "it": "italian|italienisch(?:e[nrs]?)?|italiano|italien|イタリア語|意大利语",
    "ja": "japanese|japanisch(?:e[nrs]?)?|japonés|japonais|giapponese|japonês|日本語|日语",
    "ko": "korean|koreanisch(?:e[nrs]?)?|coreano|coréen|韓国語|韩语|한국어",
    "la": "latin|latein",
    "nl": "dutch|niederländisch|holandés|néerlandais|nederlands",
    "no": "norwegian|norwegisch|norsk",
    "pl": "polish|polnisch|polaco|polonais|polski",
    "pt": "portuguese|portugiesisch|portugués|portugais|portoghese|português|ポルトガル語|葡萄牙语",
    "ro": "romanian",
    "ru": "russian|russisch|ruso|russe|russo|русский|ロシア語|俄语",
    "sk": "slovak",
    "sv": "swedish|schwedisch|svenska",
    "ta": "tamil",
    "th": "thai",
    "tr": "turkish|türkisch|türkçe",
    "uk": "ukrainian|ukrainisch",
    "ur": "urdu",
    "vi": "vietnamese",
    "zh": "chinese|mandarin|chinesisch(?:e[nrs]?)?|chino|chinois|cinese|chinês|中国語|中文|汉语|普通话",
}
_LANGUAGE = {code: _words(*names.split("|")) for code, names in _LANGUAGES.items()}
# Writing it in another language than it is spoken in is a task that needs a language model.
_TRANSLATE = re.compile(
    r"\b(?:translat\w+|übersetz\w+|traduc\w+|tradui\w+|traduz\w+|tradur\w+|翻訳|翻译)[^.!?]*"
)
_ONLY = _words(r"only|just|nur|sólo|solo|seulement|uniquement|soltanto|só|apenas|だけ|只|仅")
_PARTS_OF_IT = r"(?: (?:part|parts|speech|speaker|speakers|words|section|sections|sentences?))"
_LANGUAGE_CODE = re.compile(r"\b(?:language|lang|sprache)\s*[:=]\s*([a-z]{2})\b")


def _language(text: _Text) -> tuple[str | None, bool]:
    """The language named, and whether only what is spoken in it is wanted."""
    if text.find(_TRANSLATE):
        return None, False
    if match := text.take(_LANGUAGE_CODE):
        return match.group(1), False
    for code, pattern in _LANGUAGE.items():
        part = re.compile(rf"(?:the )?(?:{pattern.pattern}){_PARTS_OF_IT}")
        if text.take(part):
            text.take(_ONLY)
            return code, True
        if text.take(pattern):
            return code, text.take(_ONLY) is not None
    return None, False


# ---------------------------------------------------------------- time

_UNIT = r"(?:seconds?|secs?|s|sekunden?|segundos?|secondes?|secondi|minutes?|mins?|min|m|minuten?|minutos?|minuti|秒|分)"
_TIME = rf"(?:\d+:)?\d{{1,2}}:\d{{2}}(?:\.\d+)?|\d+(?:[.,]\d+)?\s*-?{_UNIT}?(?![\w:])"
_A, _B = rf"(?P<a>{_TIME})", rf"(?P<b>{_TIME})"
_NUMBERS = {
    word: str(number)
    for number, word in enumerate(
        "one two three four five six seven eight nine ten eleven twelve".split(), 1
    )
} | {"fifteen": "15", "twenty": "20", "thirty": "30", "sixty": "60", "half a": "0.5"}
_SPANS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\b(?:from|between|von|de|desde|da|entre)\s+(?:second |minute )?{_A}\s*"
        rf"(?:to|until|till|through|and|bis|und|hasta|a|à|y|et|-|–|—)\s*{_B}",
        rf"(?<![\d:.]){_A}\s*(?:to|-|–|—|bis|から)\s*{_B}",
        rf"\b(?P<first>first|erste[nr]?|primeros|premières|primi|primeiros)\s+{_A}",
        rf"\b(?P<last>last|final|letzte[nr]?|últimos|dernières|ultimi)\s+{_A}",
        rf"\b(?:after|from|since|starting (?:at|from)|ab|nach|después de|après|dopo|depois de)\s+{_A}",
        rf"\b(?P<until>before|until|till|up to|bis|vor|hasta|antes de|avant|jusqu['’]à|fino a)\s+{_A}",
        rf"(?P<first>最初の|前){_A}",
    )
)


def _span(text: _Text) -> Span:
    for word, number in _NUMBERS.items():
        text.replace(re.compile(rf"\b{word}(?= {_UNIT}\b)"), number)
    for pattern in _SPANS:
        if match := text.find(pattern):
            span = _span_of(match)
            if span and text.take(pattern):
                return span
    return Span()


def _span_of(match: re.Match[str]) -> Span | None:
    groups = match.groupdict()
    a, b = groups["a"], groups.get("b")
    unit = re.search(r"[^\d\s.,:-]+$", b or a)
    start = _seconds(a, unit.group() if unit else None)
    if b is not None:
        end = _seconds(b, None)
        is_time = any(":" in t or re.search(r"[^\d\s.,-]", t) for t in (a, b))
        # "from 5 to 9" may be anything; without a unit or a colon it is no time.
        return Span(start, end) if is_time and end > start else None
    if not (":" in a or unit) or (groups.get("last") and start <= 0):
        return None
    if groups.get("first") or groups.get("until"):
        return Span(0.0, start)
    return Span(-start) if groups.get("last") else Span(start)


def _seconds(time: str, unit: str | None) -> float:
    """`unit` is that of the other end of the range, for "from 5 to 9 minutes"."""
    time = time.strip()
    if ":" in time:
        total = 0.0
        for field in time.split(":"):
            total = total * 60 + float(field)
        return total
    match = re.match(r"(\d+(?:[.,]\d+)?)\s*-?(.*)", time)
    assert match, "the pattern that found it begins with a number"
    is_minutes = (match.group(2) or unit or "s").startswith(("m", "分"))
    return float(match.group(1).replace(",", ".")) * (60 if is_minutes else 1)


# ---------------------------------------------------------------- the rest

_FILLER = _words(
    r"please|kindly|can|could|would|you|i|me|us|my|need|want|like|to|for|just|only|also|then|respectively",
    r"the|a|an|this|that|these|those|it|its|each|every|all|any|both|and|or|of|in|on|at|from|with|as|by|is|are|be|been|being",
    r"give|get|make|create|generate|produce|write|list|show|return|output|print|provide|extract|find|detect|tell|do|out|down|up",
    r"video|videos|clip|clips|movie|movies|film|films|footage|file|files|recording|recordings|content|contents|everything",
    r"one|two|three|first|second|third|order|full|complete|whole|entire|verbatim|exact|exactly|word|words|language|format|style|form",
    r"there|here|which|what|what's|appears?|shown|displayed|spoken|heard|visible|screen|frames?|times?|seconds?|minutes?|between|part|parts",
    r"bitte|das|die|der|den|dem|des|ein|eine|einen|dieses|diese|dieser|jedes|alle|und|oder|im|in|am|auf|aus|von|vom|mit|als|zu|mir|gib|erstelle|zeige|liste|schreibe",
    r"videos?|wird|werden|ist|sind|sekunden?|minuten?|nur|sprache|was|wörtlich",
    r"por|favor|el|la|los|las|un|una|este|esta|estos|cada|y|o|de|del|en|con|como|me|da|dame|haz|muestra|vídeos?|todo|todos|lo|que|se",
    r"s'il|vous|te|plaît|le|les|une|ce|cette|ces|chaque|et|ou|du|dans|au|avec|comme|donne|moi|vidéos?|tout|l|d|ce|qui|est",
    r"per|favore|il|lo|gli|i|uno|questo|questa|ogni|e|di|nel|con|come|dammi",
    r"por|favor|os|as|um|uma|este|esta|cada|e|do|da|no|na|com|como|vídeo",
    r"してください|して|ください|この|動画|ビデオ|の|を|に|は|が|すべて|全部|と",
    r"请|这个|这些|视频|把|的|中|里|和|所有|全部|将",
    r"비디오|영상|동영상|해\s?주세요|해줘|을|를|의|이",
    r"\d+",
)
