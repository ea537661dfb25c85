"""What alerts and recommendations say, in English and Russian. Data only; pure.

Recommendations report what guidelines advise; they are no advice of their own.
"""

from collections.abc import Sequence
from typing import Literal

from ctgkit.analysis.alerts import Alert

Language = Literal["en", "ru"]

ALERTS: dict[str, dict[Language, str]] = {
    "signal_loss": {
        "en": "Signal lost for {value:.0f} % of 10 min: no classification",
        "ru": "Потеря сигнала {value:.0f} % за 10 мин: классификация невозможна",
    },
    "maternal_pulse": {
        "en": "The maternal pulse may have been recorded for {value:.1f} of 10 min",
        "ru": "Возможно, записан пульс матери: {value:.1f} мин из 10",
    },
    "doubled_halved": {
        "en": "The monitor doubled or halved the rate for {value:.1f} of 10 min",
        "ru": "Монитор удваивал или делил пополам ЧСС: {value:.1f} мин из 10",
    },
    "tachycardia": {
        "en": "Tachycardia: baseline above 160 bpm for {value:.0f} min",
        "ru": "Тахикардия: базальный ритм выше 160 уд/мин {value:.0f} мин",
    },
    "bradycardia": {
        "en": "Bradycardia: baseline below 110 bpm for {value:.0f} min",
        "ru": "Брадикардия: базальный ритм ниже 110 уд/мин {value:.0f} мин",
    },
    "reduced_variability": {
        "en": "Variability below 5 bpm for {value:.0f} min",
        "ru": "Вариабельность ниже 5 уд/мин {value:.0f} мин",
    },
    "increased_variability": {
        "en": "Variability above 25 bpm for {value:.0f} min",
        "ru": "Вариабельность выше 25 уд/мин {value:.0f} мин",
    },
    "sinusoidal": {
        "en": "Sinusoidal rhythm for {value:.0f} min",
        "ru": "Синусоидальный ритм {value:.0f} мин",
    },
    "late_decelerations": {
        "en": "Late decelerations with {percent:.0f} % of contractions",
        "ru": "Поздние децелерации при {percent:.0f} % схваток",
    },
    "variable_decelerations": {
        "en": "Variable decelerations with {percent:.0f} % of contractions",
        "ru": "Вариабельные децелерации при {percent:.0f} % схваток",
    },
    "prolonged_deceleration": {
        "en": "Prolonged deceleration: {value:.1f} min",
        "ru": "Пролонгированная децелерация: {value:.1f} мин",
    },
    "tachysystole": {
        "en": "Tachysystole: {value:.1f} contractions per 10 min over 30 min",
        "ru": "Тахисистолия: {value:.1f} схватки за 10 мин в течение 30 мин",
    },
    "hypertonus": {
        "en": "A contraction of {value:.0f} s",
        "ru": "Схватка длительностью {value:.0f} с",
    },
}
"""Code -> text; ``value`` is the first number of the evidence, ``percent`` 100 times it."""

RECOMMENDATIONS: dict[str, dict[Language, str]] = {
    "signal_loss": {
        "en": "Check the transducer; record again before classifying",
        "ru": "Проверить датчик; повторить запись до классификации",
    },
    "maternal_pulse": {
        "en": "FIGO 2015 advises to compare with the maternal pulse",
        "ru": "FIGO 2015: сравнить с пульсом матери",
    },
    "doubled_halved": {
        "en": "Compare with auscultation",
        "ru": "Сравнить с аускультацией",
    },
    "tachycardia": {
        "en": "FIGO 2015 advises to look for fever, infection and medication",
        "ru": "FIGO 2015: исключить лихорадку, инфекцию, действие препаратов",
    },
    "bradycardia": {
        "en": "FIGO 2015 advises to exclude the maternal pulse and look for reversible causes",
        "ru": "FIGO 2015: исключить пульс матери, искать обратимые причины",
    },
    "reduced_variability": {
        "en": "FIGO 2015 advises to consider sleep and medication first; a longer record helps",
        "ru": "FIGO 2015: сначала исключить сон плода и действие препаратов, продлить запись",
    },
    "increased_variability": {
        "en": "FIGO 2015 classes more than 30 min as pathological: look for reversible causes",
        "ru": "FIGO 2015: более 30 мин — патологический тип, искать обратимые причины",
    },
    "sinusoidal": {
        "en": "FIGO 2015 associates it with severe fetal anaemia: urgent assessment",
        "ru": "FIGO 2015: связан с тяжёлой анемией плода, срочная оценка",
    },
    "late_decelerations": {
        "en": "FIGO 2015 advises to correct reversible causes (position, oxytocin, hypotension)",
        "ru": "FIGO 2015: устранить обратимые причины (поза, окситоцин, гипотензия)",
    },
    "variable_decelerations": {
        "en": "FIGO 2015 advises closer observation; watch duration and variability inside",
        "ru": "FIGO 2015: тщательное наблюдение за длительностью и вариабельностью внутри",
    },
    "prolonged_deceleration": {
        "en": "FIGO 2015: past 5 min with less than 80 bpm and reduced variability, act at once",
        "ru": "FIGO 2015: более 5 мин при ЧСС ниже 80 и сниженной вариабельности — действовать",
    },
    "tachysystole": {
        "en": "FIGO 2015 advises to reduce or stop oxytocin, or to give a tocolytic",
        "ru": "FIGO 2015: уменьшить или прекратить окситоцин, токолиз",
    },
    "hypertonus": {
        "en": "FIGO 2015 advises to reduce or stop oxytocin",
        "ru": "FIGO 2015: уменьшить или прекратить окситоцин",
    },
}

NOTHING_TO_DO: dict[Language, str] = {
    "en": "No alert. Simulated analysis, not for diagnosis",
    "ru": "Тревог нет. Имитация анализа, не для диагностики",
}


def alert_texts(active: Sequence[Alert], language: Language) -> list[str]:
    """Return one line for each alert, in their order."""
    lines = []
    for alert in active:
        value = alert.evidence[0].value
        lines.append(ALERTS[alert.code][language].format(value=value, percent=100 * value))
    return lines


def recommendations(active: Sequence[Alert], language: Language) -> list[str]:
    """Return what guidelines advise for each alert; one line when there is none."""
    return [RECOMMENDATIONS[a.code][language] for a in active] or [NOTHING_TO_DO[language]]
