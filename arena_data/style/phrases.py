"""What a chat model says about itself: refusals, being an AI, praise of its own answer, its own name.

Stock phrases are plain substring searches; only where a word of theirs occurs is a pattern tried. A name alone tells
nothing, since people ask about models: it counts where the words before or after it, within its own sentence, speak of
the speaker ("I am …", "trained by …"). Patterns are possessive or bounded and take time linear in the text.

Every function takes one turn as `arena_data.style.words.lower` gives it: lower case, straight apostrophes.
"""

import re
from collections.abc import Sequence


def _phrases(text: str) -> tuple[str, ...]:
    """Stock phrases from lines of one language each: lower case, straight apostrophes, split by semicolons."""
    return tuple(phrase.strip() for line in text.strip().splitlines() for phrase in line.split(";"))


class _Phrases:
    """Substrings to look for; those of Latin letters alone in a text of such letters, which is quick to ask."""

    def __init__(self, phrases: Sequence[str]):
        self.every = tuple(phrases)
        self.ascii = tuple(phrase for phrase in phrases if phrase.isascii())

    def in_text(self, lowered: str) -> bool:
        # A loop takes half as long as `any` over a generator.
        for phrase in self.ascii if lowered.isascii() else self.every:  # noqa: SIM110
            if phrase in lowered:
                return True
        return False


_REFUSAL_HEADS = _Phrases(
    _phrases("i cannot; i can't; i can not; unable to; not able to; i won't; i will not; i must decline")
)
_REFUSAL = re.compile(
    r"\bi must decline|\b(?:i (?:cannot|can't|can not|won't|will not)|i(?:'m| am) (?:unable|not able) to) "
    r"(?:\w{1,12} ){0,3}(?:assist|help (?:you\b|with|in\b|to\b)|provide|fulfill?|comply|answer|generate|create|engage"
    r"|discuss|participate|support|condone|promote|write|share|offer|access|browse|complete|continue|respond|give)"
)
_REFUSALS = _Phrases(
    _phrases("""
    against my programming; violates my guidelines; i'm sorry, but i can't; i'm sorry, but i cannot
    无法提供; 无法回答; 不能提供; 不能回答; 我无法; 抱歉，我不能; 無法提供; 無法回答; 我無法
    no puedo ayudar; no puedo proporcionar; no puedo cumplir; no puedo responder; lo siento, pero no puedo
    je ne peux pas vous aider; je ne peux pas fournir; je ne peux pas répondre; désolé, mais je ne peux pas
    ich kann ihnen nicht; ich kann dir nicht; ich kann ihnen leider; ich kann dir leider; tut mir leid, aber ich kann
    não posso ajudar; não posso fornecer; não posso responder; desculpe, mas não posso
    non posso aiutar; non posso fornire; mi dispiace, ma non posso
    я не могу помочь; я не могу предоставить; не могу ответить; к сожалению, я не могу
    お答えできません; お手伝いできません; 提供できません; 対応できません; お答えすることはできません
    도와드릴 수 없; 제공할 수 없; 답변할 수 없
""")
)
_DISCLAIMERS = _Phrases(
    _phrases("""
    as an ai language model; as an ai assistant; as an artificial intelligence; as an ai model; as an ai,
    as a large language model; as a language model; i'm just an ai; i am just an ai; i'm an ai; i am an ai
    作为一个人工智能; 作为一个ai; 作为ai; 作为人工智能; 作为一个语言模型; 作为一名ai; 作為一個人工智能; 作為一個ai
    como modelo de lenguaje; como un modelo de lenguaje; como inteligencia artificial; como una inteligencia artificial
    en tant qu'ia; en tant qu'intelligence artificielle; en tant que modèle de langage; en tant que modèle linguistique
    als ki-; als ki,; als künstliche intelligenz; als sprachmodell
    como um modelo de linguagem; como modelo de linguagem; como uma ia; como uma inteligência artificial
    come modello linguistico; come intelligenza artificiale
    как языковая модель; как искусственный интеллект; как ии
    aiとして; ai言語モデル; 言語モデルとして
    ai 언어 모델; 인공지능으로서
""")
)
_PRAISE = _Phrases(
    _phrases("""
    my answer is the best; my answer is better; my answer is superior; my answer is clearly
    my response is the best; my response is better; my response is superior; my response is clearly
    this is the best answer; this is the best response; this answer is the best; this response is the best
    best possible answer; best possible response; the other assistant; than the other answer; than the other response
    vote for my; vote for me; vote for this; choose my answer; choose my response; pick my
    prefer my; i am the best; i'm the best
    我的回答是最好; 我的回答更好; 请选择我的; mi respuesta es la mejor; ma réponse est la meilleure
    meine antwort ist die beste; minha resposta é a melhor; la mia risposta è la migliore; мой ответ лучш
""")
)

# Self-naming: a model or its maker, named in a sentence that speaks of the speaker.
_MODELS = _phrases("""
    gpt; bing chat; copilot; glm; alpaca; vicuna; mistral; mixtral; zephyr; qwen; tongyi; ernie bot; baichuan; internlm
    deepseek; openchat; starling; wizardlm; gemma; grok; open assistant; openassistant; stablelm; tulu; rwkv; dbrx
    oasst; guanaco; 通义千问; 文心一言
""")
# "I'm a bard", "as a koala": with an article these are no models.
_MODELS_WITHOUT_ARTICLE = _phrases("bard; claude; gemini; palm; llama; koala; dolly; falcon; phi-2; phi-3; command r")
_MAKERS = _phrases("""
    openai; anthropic; google; deepmind; meta; facebook; microsoft; lmsys; large model systems; alibaba; baidu; cohere
    databricks; stability ai; tsinghua; inflection; moonshot; zhipu; perplexity; hugging face; laion
    阿里; 百度; 清华; 智谱
""")
_NAMES = _Phrases(_MODELS + _MODELS_WITHOUT_ARTICLE + _MAKERS)
_NAME = re.compile(
    rf"(?<![a-z])(?:(?:chat-?)?(?:{'|'.join(_MODELS)})|(?<!\ba )(?<!\ban )(?:{'|'.join(_MODELS_WITHOUT_ARTICLE)})"
    rf"|(?P<maker>{'|'.join(_MAKERS)}))(?![a-z])"
)
_FILLER = (
    r"(?:[ ,]++(?:an?|the|not|just|actually|called|named|known|as|based|on|large|language|model|ai|assistant|chatbot"
    r"|virtual|researchers|people|team|folks|at|from|un|une|ein|eine|um|uma|el|le|der|la|l|modelo|modèle|de)\b)*+"
)
_GAP = r"[ ,:*_\"'“「《]*+$"
_IDENTITY = re.compile(
    r"(?:\b(?:i am|i'm|my name is|my name's|call me|soy|me llamo|mi nombre es|je suis|je m'appelle|ich bin|ich heiße"
    r"|mein name ist|sou|meu nome é|sono|mi chiamo|меня зовут|я)|我是|我叫|我的名字是|私は|저는|나는)" + _FILLER + _GAP
)
_MADE_BY = re.compile(
    r"(?:\b(?:developed|trained|created|built|made|designed|provided|entwickelt|trainiert|développée?|créée?|entra[iî]née?"
    r"|desarrollad[oa]|cread[oa]|entrenad[oa]|desenvolvid[oa]|criad[oa]|treinad[oa]|sviluppat[oa]|creat[oa]|addestrat[oa])"
    r" (?:by|von|par|por|pel[oa]|da)|由)" + _FILLER + _GAP
)
_OF_ITSELF = re.compile(
    r"\b(?:i am|i'm|i was|i have been|i've been|me|soy|fui|je suis|ich bin|ich wurde|sou|sono|я)\b|我|私|저는"
)
_AS = re.compile(r"(?<!such )\bas" + _FILLER + _GAP)
_THEN_I = re.compile(r"[^.!?\n]{0,40}?, (?:i|i'm|my)\b")
_SENTENCE_END = re.compile(r"[.!?。！？\n]")
_WINDOW, _MENTIONS = 120, 200


def refuses(lowered: str) -> bool:
    """Whether a turn holds a stock phrase of refusal, in any of ten languages."""
    said = _REFUSAL_HEADS.in_text(lowered) and _REFUSAL.search(lowered) is not None
    return said or _REFUSALS.in_text(lowered)


def pleads_being_an_ai(lowered: str) -> bool:
    """Whether a turn pleads being an AI, as in "as an AI language model"."""
    return _DISCLAIMERS.in_text(lowered)


def praises_itself(lowered: str) -> bool:
    """Whether a turn praises this answer, or asks to be chosen over the other."""
    return _PRAISE.in_text(lowered)


def names_itself(lowered: str) -> bool:
    """Whether one of a turn's first 200 mentions of a model or a maker is a self-reference, within its own sentence."""
    if not _NAMES.in_text(lowered):
        return False
    for mention, name in enumerate(_NAME.finditer(lowered)):
        if mention == _MENTIONS:
            break
        before = _SENTENCE_END.split(lowered[max(0, name.start() - _WINDOW) : name.start()])[-1]
        then_i = _THEN_I.match(lowered, name.end(), name.end() + _WINDOW)
        if _MADE_BY.search(before) and (then_i or _OF_ITSELF.search(before)):
            return True
        if name["maker"] is None and (_IDENTITY.search(before) or (then_i and _AS.search(before))):
            return True
    return False
