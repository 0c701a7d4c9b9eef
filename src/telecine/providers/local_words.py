"""The words that prompts are searched for, as regular expressions, in a few languages.

Missing ones cost little: without any the whole report is given.
"""

# ruff: noqa: E501, RUF001 - tables of words are read line by line; accents and quotes are meant

from __future__ import annotations

import re
from collections.abc import Mapping

from telecine.providers.local_report import FormName, PartName

_NO_SPACES = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def phrases(*phrases: str) -> re.Pattern[str]:
    """Any of these phrases, as whole words; those in scripts without spaces anywhere."""
    whole = [phrase for phrase in phrases if not _NO_SPACES.search(phrase)]
    loose = [phrase for phrase in phrases if _NO_SPACES.search(phrase)]
    return re.compile("|".join([*([rf"\b(?:{'|'.join(whole)})\b"] if whole else []), *loose]))


PARTS: Mapping[PartName, re.Pattern[str]] = {
    # First: "on-screen text", "subtitles on screen" are not the spoken word.
    "text": phrases(
        r"(?:on[- ]?screen|visible|displayed|written|burned[- ]in) (?:text|words|captions|subtitles|titles)",
        r"(?:text|words|writing|captions|titles) (?:shown |displayed |visible |appear(?:s|ing)? |that |is |are )*(?:on|in) (?:the )?(?:screen|frames?|picture|slides?|images?)",
        r"(?:written|shown|displayed|stands?|standing|appears?|visible|printed|seen) (?:there )?on (?:the |its |their |each )?screens?",
        r"on (?:the |its |their |each )?screens?|written|signage",
        r"on[- ]?screen|text overlays?|overlay text|ocr|slides?|(?<!closed )caption|signs?|title cards?",
        r"(?:extract|read) (?:out )?(?:all )?(?:the |any )?captions",
        r"read (?:all |out )?(?:the |any )?text|read|texts?",
        r"bildschirmtext\w*|eingeblendete\w* text\w*|texte|untertitelung im bild|folien?|einblendung\w*",
        r"texto en pantalla|textos?|diapositivas?|rótulos?",
        r"texte à l['’]écran|textes?|diapositives?|incrustations?",
        r"testo sullo schermo|testi|testo|diapositive",
        r"texto na tela|legendas na tela|slides",
        r"画面の?文字|文字|テキスト|テロップ",
        r"屏幕(?:上的)?文字|画面文字|文字|字样|幻灯片",
        r"화면\s?텍스트|글자|자막\s?텍스트",
    ),
    "speech": phrases(
        r"transcri(?:be|bes|bed|bing|pts?|ptions?)|speech|spoken(?: words?)?|speak(?:s|ing|ers?)?|dictat\w+",
        r"sa(?:y|ys|id|ying)|narrat(?:ion|or)s?|voice(?:[- ]?over)?s?|dialog(?:ue)?s?|subtitles?|talk(?:s|ing)?",
        r"audio|lyrics|closed[- ]caption(?:s|ed|ing)?|caption(?:s|ing)",
        r"transkribier\w*|transkript\w*|abschrift|sprache|gesprochen\w*|gesagt\w*|sagt|untertiteln?|verschriftlich\w*",
        r"transcrib\w+|transcripci\w+|habla|hablado|dice[n]?|subtítulos?|voz",
        r"transcri\w+|paroles?|parlé|dit|sous-titres?|voix",
        r"trascri\w+|parlato|dice|sottotitoli|voce",
        r"transcrev\w+|transcri\w+|fala|falado|diz|legendas?|voz",
        r"文字起こし|書き起こし|発話|音声|字幕|話し",
        r"转录|轉錄|转写|听写|语音|說話|说话|字幕",
        r"받아\s?쓰기|전사|음성|자막|말하",
    ),
    "shots": phrases(
        # "The scene" is what there is to see, and to cut is a verb: neither asks for the cuts.
        r"shots?|scenes|scene changes?|shot changes?|cuts|(?:the|each|every|any) cut|edits",
        r"einstellung\w*|szenen|schnitte?n?",
        r"escenas|planos?|cortes?",
        r"scènes|coupes?",
        r"(?:le|delle|di) scene|inquadratur\w+|tagli",
        r"cenas",
        r"シーン|カット|ショット",
        r"镜头|場景|场景",
        r"장면|컷",
    ),
}
# What Japanese, Chinese and Korean have one word for belongs to speech unless the screen is named.
FULL_TRANSCRIPTION = phrases(r"文字起こし", r"書き起こし")
# The answer is text, whatever of: "video to text", "a written summary".
TO_TEXT = phrases(
    r"(?:(?:in)?to|as|in)[- ]text(?: form)?(?! (?:overlay|box|on\b))",
    r"(?:text|written)(?= (?:summary|summaries|descriptions?|versions?)\b)",
)

NOT = (
    r"(?<!not )(?<!n['’]t )"
    r"(?:without|no|not|don['’]?t|never|except|exclud(?:e|ing)|ignor(?:e|ing)|skip(?:ping)?|omit(?:ting)?|leave out|ohne|nicht|sin|sans|senza|sem)"
    r"(?: (?:to|include|mention|give|get|show|list|report|return|output|write|add|use|want|need|me|us|a|an|any|the|its|den|die|das|el|la|le|les))*"
)

FORMS: tuple[tuple[FormName, re.Pattern[str]], ...] = (
    ("json", phrases(r"json(?: (?:object|document|format|array))?")),
    ("srt", phrases(r"\.?srt(?: (?:file|format|subtitles?))?", r"subrip")),
    ("vtt", phrases(r"\.?(?:web)?vtt(?: (?:file|format|subtitles?))?")),
    (
        "plain",
        phrases(
            r"plain[- ]?text|plain(?! english\b)|(?:text|words) only|only (?:the )?(?:text|words)|raw text",
            rf"{NOT} time ?(?:stamps?|codes?|s)?",
            r"nur text|ohne zeit\w*|solo texto|sin marcas de tiempo|texte brut|solo testo",
        ),
    ),
    (
        "report",
        phrases(
            r"(?:written )?report|overview|bericht|informe|rapport|rapporto|relatório|報告|报告"
        ),
    ),
)
TIMED = phrases(
    r"time[- ]?(?:stamp|code)s?|time[- ]?(?:stamp|cod)ed|(?:with|and) (?:the )?times?|when",
    r"zeit(?:stempel|marken?|angaben?)|wann|marcas de tiempo|cuándo|horodat\w+|quand|quando",
    r"タイムスタンプ|时间戳|時間",
)

# ---------------------------------------------------------------- time

TIME_UNIT = r"(?:seconds?|secs?|s|sekunden?|segundos?|secondes?|secondi|minutes?|mins?|min|m|minuten?|minutos?|minuti|秒|分)"
NUMBERS: Mapping[str, str] = {
    "half a": "0.5",
    "one": "1",
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
    "ten": "10",
    "twelve": "12",
    "fifteen": "15",
    "twenty": "20",
    "thirty": "30",
    "sixty": "60",
}
_TIME = rf"(?:\d+:)?\d{{1,2}}:\d{{2}}(?:\.\d+)?|\d+(?:[.,]\d+)?\s*-?{TIME_UNIT}?(?![\w:])"
_LONG_UNIT = r"(?:second|minute|sekunde|segundo|seconde|minuto)[sn]?"
_A, _B = rf"(?P<a>{_TIME})", rf"(?P<b>{_TIME})"
SPANS = tuple(
    re.compile(pattern)
    for pattern in (
        (
            rf"\b(?P<unit>{_LONG_UNIT})\s+{_A}\s*"
            rf"(?:to|until|till|through|and|bis|und|hasta|a|à|y|et|-|–|—)\s*(?:{_LONG_UNIT}\s+)?{_B}"
        ),
        (
            rf"\b(?:from|between|von|de|desde|da|entre)\s+{_A}\s*"
            rf"(?:to|until|till|through|and|bis|und|hasta|a|à|y|et|-|–|—)\s*{_B}"
        ),
        rf"(?<![\d:.]){_A}\s*(?:to|-|–|—|bis|から)\s*{_B}",
        rf"\b(?P<first>first|erste[nr]?|primeros|premières|primi|primeiros)\s+{_A}",
        rf"\b(?P<last>last|final|letzte[nr]?|últimos|dernières|ultimi)\s+{_A}",
        rf"\b(?:after|from|since|starting (?:at|from)|ab|nach|después de|après|dopo|depois de)\s+{_A}",
        rf"\b(?P<until>before|until|till|up to|bis|vor|hasta|antes de|avant|jusqu['’]à|fino a)\s+{_A}",
        r"\b(?P<first>first|erste)\s+(?P<a>(?:minute|second))\b",
        r"\b(?P<last>last|final|letzte)\s+(?P<a>(?:minute|second))\b",
        rf"(?P<first>最初の|前){_A}",
    )
)

# ---------------------------------------------------------------- language

LANGUAGES: Mapping[str, str] = {
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
    "pl": r"polish(?! (?:the|this|that|my|our|it|up)\b)|polnisch|polaco|polonais|polski",
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
# Writing it in another language than it is spoken in is a task that needs a language model.
TRANSLATE = re.compile(
    r"\b(?:translat\w+|übersetz\w+|traduc\w+|tradui\w+|traduz\w+|tradur\w+|翻訳|翻译)[^.!?]*"
)
# An answer in a language is one too: that does not tell what is spoken.
ANSWER = phrases(
    r"answer\w*|respon[ds]\w*|reply|replies|describ\w+|description|summar\w+|writ(?:e|ing)|explain\w*|tell",
    r"antwort\w*|beschreib\w*|erklär\w*|schreib\w*|respuesta|contesta\w*|descri\w+|resum\w+|explica\w*|escrib\w+",
    r"répon\w+|réponse|décri\w+|résum\w+|expliqu\w+|écri\w+|rispo\w+|riassu\w+|spiega\w*|scriv\w+|escrev\w+",
)
IN_LANGUAGE = re.compile(r"\b(?:in|using|auf|en|em)(?: (?:the|plain|simple|only))*\s*$")
ANSWERED = re.compile(r"\s*(?:で(?:答|回答|説明|要約|書)|回答|说明|描述|总结)")
ONLY = phrases(r"only|just|nur|sólo|solo|seulement|uniquement|soltanto|só|apenas|だけ|只|仅")

FILLER = phrases(
    r"please|kindly|can|could|would|you|i|me|us|my|need|want|like|to|for|just|only|also|then|respectively",
    r"the|a|an|this|that|these|those|it|its|each|every|all|any|both|and|or|of|in|on|at|from|with|as|by|is|are|be|been|being",
    r"give|get|make|create|generate|produce|write|list|show|return|output|print|provide|extract|find|detect|tell|do|out|down|up",
    r"video|videos|clip|clips|movie|movies|film|films|footage|file|files|recording|recordings|content|contents|everything",
    r"\d+ (?:videos|clips|movies|films|files|recordings)|convert",
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
)
