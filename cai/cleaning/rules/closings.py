"""Chatbot closings that pile up."""

from __future__ import annotations

from cai.cleaning.edits import Cut
from cai.cleaning.view import Row, View

ID = "closings"
REASON = "one goodbye is polite; the seed paper's DPO model said goodbye until the budget ended"

MOST = 2
_COURTESY = frozenset(
    ["thank", "thanks", "please", "help", "helping", "helped", "assist", "assisting", "assistance", "support", "questions", "question", "inquiries", "inquiry", "concerns", "concern", "queries", "query", "feel", "free", "contact", "reach", "day", "evening", "night", "week", "weekend", "morning", "afternoon", "glad", "happy", "pleasure", "pleased", "delighted", "hope", "wish", "wishes", "best", "luck", "care", "bye", "goodbye", "farewell", "cheers", "regards", "sincerely", "welcome", "hesitate", "service", "talk", "chat", "soon", "blessed", "enjoy", "appreciate", "appreciated", "grateful", "anytime", "shoulder", "listening", "ear", "danke", "gerne", "hilfe", "fragen", "tag", "helfen", "melden", "wünsche", "tschüss", "grüße", "merci", "aide", "questions", "journée", "bonne", "plaisir", "bientôt", "revoir", "cordialement", "gracias", "ayuda", "ayudar", "preguntas", "día", "suerte", "gusto", "adiós", "saludos", "obrigado", "obrigada", "ajuda", "perguntas", "dia", "grazie", "aiuto", "domande", "giornata", "piacere", "arrivederci", "спасибо", "пожалуйста", "помощь", "помочь", "вопросы", "вопрос", "дня", "удачи", "свидания"]
)
_PLAIN = frozenset(
    ["a", "an", "and", "any", "anything", "else", "all", "always", "again", "ahead", "am", "are", "as", "at", "ask", "be", "been", "being", "but", "can", "chance", "come", "could", "do", "don't", "ever", "everything", "for", "forward", "from", "further", "future", "get", "go", "going", "good", "great", "have", "here", "hesitate", "how", "i", "i'd", "i'll", "i'm", "if", "in", "is", "it", "it's", "just", "know", "learn", "let", "let's", "lovely", "love", "many", "me", "more", "much", "my", "need", "needed", "needs", "nice", "need", "not", "of", "on", "or", "other", "out", "rest", "safe", "see", "so", "some", "something", "stay", "staying", "sure", "take", "that", "the", "there", "these", "this", "time", "to", "today", "too", "tomorrow", "until", "us", "very", "want", "we", "we're", "well", "what", "whatever", "when", "whenever", "while", "wonderful", "will", "with", "would", "you", "you'd", "you'll", "you're", "your", "yourself", "additional", "amazing", "available", "back", "beautiful", "bless", "bright", "continue", "conversation", "different", "easily", "forget", "fantastic", "fun", "great", "happily", "hello", "hey", "hi", "keep", "kind", "may", "moment", "need", "one", "only", "opportunity", "peace", "pleasant", "reaching", "really", "remember", "remind", "say", "shine", "smile", "smiling", "someone", "speak", "speaking", "superb", "terrific", "topic", "topics", "truly", "using", "warm", "wish", "wishing", "work", "working", "you've", "excellent", "way", "assistant", "matter", "friend", "friends", "dear", "information", "regarding", "about", "ein", "eine", "einen", "ihnen", "dir", "sie", "du", "ich", "für", "und", "noch", "schönen", "weitere", "bei", "zu", "haben", "wenn", "bitte", "mich", "jederzeit", "je", "vous", "une", "pour", "si", "avez", "d'autres", "n'hésitez", "pas", "à", "me", "bonne", "de", "la", "le", "les", "autres", "avec", "si", "tienes", "más", "que", "tengas", "un", "buen", "te", "puedo", "algo", "en", "lo", "espero", "если", "у", "вас", "есть", "ещё", "еще", "вам", "хорошего", "всего", "до", "буду", "рад", "рада", "обращайтесь"]
)
_HARD = frozenset(["can't", "cannot", "won't", "not", "never"])


def find(view: View, row: Row) -> list[Cut]:
    """Cuts of all closings beyond the second where at least four end the text, or three that share their words."""
    words, free = view.words, view.free
    place = len(words) - 1
    closing = []
    while place >= 0 and free[place] and (not words[place] or is_closing(words[place])):
        if words[place]:
            closing.append(place)
        place -= 1
    closing.reverse()
    if len(closing) <= MOST or not closing or (closing[0] == 0 and len(closing) < 4):
        return []
    kept: list[int] = []
    surplus: set[int] = set()
    for place in closing:
        said = set(words[place]) & _COURTESY
        before = set().union(*(set(words[other]) & _COURTESY for other in kept)) if kept else set()
        if len(kept) >= MOST or (kept and len(said & before) * 2 > len(said) and len(closing) > 3):
            surplus.add(place)
        else:
            kept.append(place)
    if len(closing) == 3 and not (set(words[closing[2]]) & set().union(*(set(words[other]) for other in closing[:2])) & _COURTESY):
        return []
    if len(closing) == 3 and len(words) > 6 and len(surplus) < 2:
        return []
    return view.without(surplus)


def is_closing(words: list[str]) -> bool:
    """Whether a sentence is courtesy and nothing else: no word of it is about anything.

    >>> is_closing("have a wonderful day".split()), is_closing("have a glass of water".split())
    (True, False)
    """
    if len(words) > 30 or (_HARD & set(words) and "hesitate" not in words):
        return False
    courtesy = sum(word in _COURTESY for word in words)
    if not courtesy:
        return False
    known = sum(word in _COURTESY or word in _PLAIN for word in words)
    return known >= len(words) - len(words) // 8
