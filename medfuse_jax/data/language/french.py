"""French as data: the words that are written and read, and the templates of sentences."""

from medfuse_jax.data.language import activity, wordings
from medfuse_jax.data.language.further import FURTHER
from medfuse_jax.data.language.lexicon import Lexicon, merged

UNITS = ("zéro une deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize "
         "dix-sept dix-huit dix-neuf").split()                # feminine: une lésion


def _tens(name: str, units: list[str], joined: bool = True) -> list[str]:
    return [f"{name} et {unit}" if joined and unit in ("une",
        "onze") else f"{name}-{unit}" if unit != "zéro" else name
            for unit in units]


NUMBERS = (*UNITS, *_tens("vingt", UNITS[:10]), *_tens("trente", UNITS[:10]), *_tens("quarante", UNITS[:10]),
           *_tens("cinquante", UNITS[:10]), *_tens("soixante", UNITS),
           *_tens("quatre-vingt", UNITS, joined=False), "cent")

WRITTEN = {
    "contrast": {
        "FLAIR": ("FLAIR",), "T1w": ("T1",), "T2w": ("T2",),
        "ce-gadolinium_T1w": ("T1 après gadolinium", "T1 injecté"),
    },
    "sex": {"F": ("femme", "patiente"), "M": ("homme",)},
    "phenotype": {
        "CIS": ("syndrome clinique isolé", "CIS"), "RRMS": ("SEP-RR",
            "sclérose en plaques récurrente-rémittente"),
        "SPMS": ("SEP-SP", "sclérose en plaques secondairement progressive"),
        "PPMS": ("SEP-PP", "sclérose en plaques primaire progressive"), "control": ("témoin", "sujet témoin"),
    },
    "treatment": {
        "none": ("sans traitement", "absence de traitement"),
        "moderate": ("traitement d'efficacité modérée", "traitement de moyenne efficacité"),
        "high": ("traitement de haute efficacité", "traitement hautement efficace"),
    },
    "count": {
        "few": ("quelques",), "several": ("plusieurs",), "many": ("de nombreuses", "nombreuses"),
        "numerous": ("de très nombreuses", "d'innombrables"),
    },
    "count.masculine": {
        "few": ("quelques",), "several": ("plusieurs",), "many": ("de nombreux",), "numerous": ("de très nombreux",),
    },
    "region.one": {
        "infratentorial": ("infratentorielle", "sous-tentorielle"), "periventricular": ("périventriculaire",),
        "deep_grey": ("de la substance grise profonde", "des noyaux gris centraux"), "cortical": ("corticale",),
        "juxtacortical": ("juxtacorticale",), "deep_white": ("de la substance blanche profonde",),
    },
    "region.many": {
        "infratentorial": ("infratentorielles", "sous-tentorielles"), "periventricular": ("périventriculaires",),
        "deep_grey": ("de la substance grise profonde", "des noyaux gris centraux"),
        "cortical": ("corticales",),
        "juxtacortical": ("juxtacorticales",), "deep_white": ("de la substance blanche profonde",),
    },
    "sex.short": {"F": ("F",), "M": ("H",)},
    "region.short": {"periventricular": ("PV",), "juxtacortical": ("JC",)},
    "lesion.one": {"": ("lésion", "lésion", "lésion", "plaque")},      # a plaque now and then
    "lesion.many": {"": ("lésions", "lésions", "lésions", "plaques")},
    "years.one": {"1": ("an",)},
    "years.many": {"1": ("ans",)},
    "ml": {"1": ("ml",)},
    "burden": {"": ("charge lésionnelle",)},
    "load": {
        "minimal": ("~ minime",), "mild": ("faible ~", "~ faible"), "moderate": ("~ modérée",),
        "high": ("forte ~", "~ élevée"), "very_high": ("très forte ~", "~ très élevée"),
    },
    "grade": {"mild": ("légère", "discrète"), "moderate": ("modérée",), "severe": ("sévère", "marquée")},
    "structure.adjective": {
        "thalamus": ("thalamique",), "putamen": ("putaminale",),
        "hippocampus": ("hippocampique",), "whole_brain": ("cérébrale", "cérébrale globale"),
    },
    "structure.noun": {
        "thalamus": ("du thalamus", "des thalamus"), "caudate": ("du noyau caudé", "des noyaux caudés"),
        "putamen": ("du putamen", "des putamens"), "hippocampus": ("de l'hippocampe", "des hippocampes"),
        "whole_brain": ("du cerveau",),
    },
    "preserved": {
        "thalamus": ("thalamus de volume normal", "thalamus normaux"),
        "caudate": ("noyaux caudés de volume normal",),
        "putamen": ("putamens de volume normal",), "hippocampus": ("hippocampes de volume normal",),
        "whole_brain": ("volume cérébral normal",),
    },
    "healthy": {"": ("témoin sain", "sujet sain")},
    "only": {"": ("pas d'autre anomalie", "par ailleurs sans anomalie")},
}

UNDERSTOOD = {
    "contrast": {
        "FLAIR": ("T2 FLAIR", "T2w FLAIR", "FLAIR T2"),
        "T1w": ("T1w", "pondération T1", "pondérée T1", "pondérée en T1", "T1 sans injection", "MPRAGE"),
        "T2w": ("T2w", "pondération T2", "pondérée T2", "pondérée en T2"),
        "ce-gadolinium_T1w": (
            "ce gadolinium T1w", "T1w après gadolinium", "T1 gadolinium", "T1w gadolinium", "T1 gado",
            "T1w gado", "T1 après injection",
            "T1w après injection", "T1 avec injection", "T1w avec injection", "T1w injecté", "T1 injectée",
            "T1w injectée", "T1 avec gadolinium",
            "T1w avec gadolinium", "T1 Gd", "T1w Gd", "T1 après injection de gadolinium", "après gadolinium",
            "T1w après injection de gadolinium"),
    },
    "sex": {"F": ("F", "féminin", "féminine", "sexe féminin", "dame", "fille", "elle"),
            "M": ("H", "M", "masculin", "sexe masculin", "monsieur", "garçon", "patient de sexe masculin")},
    "phenotype": {
        "CIS": ("SCI", "syndrome cliniquement isolé"),
        "RRMS": ("RR", "RRMS", "SEP rémittente", "SEP récurrente rémittente", "forme rémittente",
                 "SEP récurrente",
                 "sclérose en plaques rémittente", "récurrente rémittente", "rémittente"),
        "SPMS": ("SP", "SPMS", "SEP secondairement progressive", "secondairement progressive",
                 "forme secondairement progressive"),
        "PPMS": ("PP", "PPMS", "SEP primaire progressive", "primaire progressive", "SEP progressive primaire",
                 "primitivement progressive", "SEP primitivement progressive", "progressive primaire"),
        "control": ("contrôle", "sujet contrôle"),
    },
    "treatment": {
        "none": ("non traité", "non traitée", "sans traitement de fond", "pas de traitement",
                 "aucun traitement", "naïf de traitement",
                 "naïve de traitement"),
        "moderate": ("efficacité modérée", "efficacité moyenne", "interféron", "interféron bêta", "glatiramère",
                     "acétate de glatiramère", "diméthyl fumarate", "fumarate de diméthyle", "tériflunomide",
                     "traitement de première ligne"),
        "high": ("haute efficacité", "natalizumab", "ocrélizumab", "ofatumumab", "alemtuzumab", "rituximab",
                 "mitoxantrone",
                 "traitement de seconde ligne", "traitement de deuxième ligne"),
    },
    "count": {
        "few": ("rares", "de rares", "peu de", "une poignée de", "peu nombreuses", "peu nombreux"),
        "many": ("beaucoup de", "multiples", "de multiples", "nombreux", "de nombreux"),
        "numerous": ("innombrables", "très nombreuses", "très nombreux", "de très nombreux"),
    },
    "region": {
        "infratentorial": ("infratentoriel", "infratentoriels", "infra-tentorielle", "sous-tentorielle",
                           "fosse postérieure", "tronc cérébral",
                           "cérébelleuse", "cervelet", "protubérantielle", "étage infratentoriel"),
        "periventricular": ("péri-ventriculaire",),
        "deep_grey": ("substance grise profonde", "noyaux gris centraux", "noyaux gris", "noyaux de la base"),
        "cortical": ("cortical", "corticaux", "cortex", "intracorticale", "intracortical"),
        "juxtacortical": ("juxta-corticale", "juxtacortical", "juxtacorticaux"),
        "deep_white": ("substance blanche profonde",),
    },
    "lesion": {"": (
        "plaque", "hypersignal", "hypersignaux", "hypersignal T2", "hypersignaux T2", "hypersignal FLAIR",
        "hypersignaux FLAIR",
        "lésion de SEP", "lésion T2",
        "lésion cérébrale", "lésion démyélinisante", "lésion de démyélinisation",
        "plaque de démyélinisation", "lésion focale", "lésion de sclérose en plaques", "lésion FLAIR",
        "plaque de SEP")},
    "burden": {"": ("charge lésionnelle T2", "charge en lésions", "charge de lésions", "charge des lésions")},
    "load": {
        "none": ("nulle", "absente", "nul", "absent"), "minimal": ("très faible", "infime"),
        "mild": ("légère", "petite", "modeste", "discrète", "basse"), "moderate": ("moyenne", "modéré"),
        "high": ("élevé", "importante", "lourde", "marquée", "fort", "haute", "grande", "notable"),
        "very_high": ("sévère", "massive", "majeure", "très importante", "très lourde", "considérable"),
    },
    "grade": {
        "none": ("absente", "nulle"),
        "mild": ("léger", "minime", "faible", "discret", "légèrement", "discrètement", "débutante", "légers"),
        "moderate": ("modéré", "moyenne", "modérément", "modérés"),
        "severe": ("marqué", "sévères", "importante", "majeure", "sévèrement", "forte", "prononcée",
                   "profonde", "massive", "élevée",
                   "très marquée", "très sévère", "évoluée"),
    },
    "structure": {
        "thalamus": ("thalamus", "thalami", "thalamiques"), "caudate": ("noyau caudé", "noyaux caudés",
            "caudé", "caudée"),
        "putamen": ("putamen", "putamens", "putaminal"), "hippocampus": ("hippocampe", "hippocampes"),
        "whole_brain": ("cerveau", "cerveau entier", "cérébral", "cérébral global", "globale", "diffuse",
                        "encéphalique", "encéphale",
                        "volume cérébral", "cérébrale diffuse", "généralisée"),
    },
    "healthy": {"": ("témoin saine", "contrôle sain", "volontaire sain", "volontaire saine", "sain", "saine",
                     "sujet témoin sain",
                     "personne saine", "cerveau sain", "témoin en bonne santé", "bonne santé")},
    "normal brain": {"": ("IRM cérébrale normale", "IRM normale", "cerveau normal", "IRM encéphalique normale",
                          "IRM du cerveau normale",
                          "examen normal", "IRM cérébrale sans anomalie", "IRM sans anomalie",
                          "sans anomalie")},
    "only": {"": ("uniquement", "seulement", "sans autre anomalie", "aucune autre anomalie",
                  "par ailleurs normal", "par ailleurs normale",
                  "aucune autre lésion", "pas d'autre lésion", "sans autre lésion", "rien d'autre",
                  "exclusivement",
                  "IRM par ailleurs normale", "pas d'anomalie par ailleurs", "sans anomalie par ailleurs")},
    "not": {"": ("pas", "sans", "aucun", "aucune", "absence", "non", "nul", "nulle", "indemne",
                 "dépourvu", "exempt", "jamais", "absence de")},
    "nor": {"": ("ni",)},
    "atrophy": {"": ("atrophie", "atrophique", "atrophiques", "atrophié", "atrophiée", "perte de volume",
                     "perte volumique", "réduction de volume")},
    "normal": {"": ("normal", "normale", "normaux", "préservé", "préservée", "respecté", "respectée", "intact",
                    "intacte",
                    "de volume normal", "de taille normale", "volume normal", "sans particularité")},
    "volume": {"": ("volume lésionnel", "volume des lésions", "volume de lésions", "volume lésionnel T2",
                    "volume")},
    "tally": {"": ("nombre de lésions", "compte lésionnel", "nombre total de lésions", "nombre des lésions")},
    "total": {"": ("total", "totale", "au total", "en tout", "globalement")},
    "ml": {"1": ("millilitre", "cc", "cm3", "centimètre cube"), "0.001": ("mm3", "millimètre cube",
        "microlitre", "ul")},
    "years": {"1": ("année",), "0.083333": ("mois",)},
    "someone": {"": ("patient", "sujet", "personne", "adulte", "volontaire")},
    "aged": {"": ("âgé de", "âgée de", "âge", "âgé", "âgée", "âge de")},
    "duration": {"": ("depuis", "évoluant depuis", "durée d'évolution", "d'évolution", "durée de la maladie",
                      "maladie évoluant depuis",
                      "durée de maladie", "de maladie", "ancienneté", "durée", "évolution", "de SEP",
                      "durée d'évolution de la maladie")},
    "edss": {"": ("EDSS", "score EDSS")},
    "article": {"1": ("un", "une")},
    "number": {"1": ("une seule", "un seul", "unique", "une unique", "un unique"), "12": ("douzaine",
        "une douzaine"),
               "10": ("dizaine", "une dizaine"), "24": ("deux douzaines",), "36": ("trois douzaines",),
               "20": ("deux dizaines",), "30": ("trois dizaines",), "70": ("septante",), "80": ("huitante",
               "octante"), "90": ("nonante",)},
    "and": {"": ("et", "ainsi que", "plus")},
    "or": {"": ("ou",)},
    "with": {"": ("avec", "montrant", "montre", "présente", "mais", "objectivant", "retrouve", "retrouvant")},
    "skip": {"": ("IRM cérébrale", "IRM encéphalique", "IRM du cerveau", "substance blanche",
                  "sclérose en plaques", "depuis l'examen précédent",
                  "depuis le dernier examen", "depuis l'IRM précédente", "depuis la dernière IRM",
                  "par rapport à l'examen précédent")},
    "side": {
        "left and right are not commanded": ("gauche", "droit", "droite", "unilatéral", "unilatérale"),
    },
    "bound": {"more": ("plus de",), "less": ("moins de",), "least": ("au moins",), "most": ("au plus", "jusqu'à")},
    "unsupported": {
        "": ("moelle", "moelle épinière", "moelle cervicale", "médullaire", "nerf optique", "névrite optique",
             "TEP", "amyloïde", "diffusion", "perfusion", "spectroscopie",
             "angiographie", "cordon médullaire"),
        "FLAIR et T1w": ("scanner", "TDM", "tomodensitométrie", "échographie", "radiographie"),
        "T1w après gadolinium": ("gadolinium",),
        "nouvelles lésions": ("active",),
        "lésions": ("veine centrale", "signe de la veine centrale"),
        "atrophie cérébrale": ("atrophie corticale", "atrophie cérébelleuse", "atrophie du tronc cérébral",
                               "dilatation ventriculaire",
                               "élargissement ventriculaire", "ventricules élargis", "corps calleux"),
        "atrophie hippocampique": ("amygdale", "atrophie temporale"),
        "atrophie putaminale": ("pallidum", "striatum", "accumbens", "globus pallidus"),
    },
    "foreign": {"": ("tumeur", "tumoral", "tumorale", "gliome", "glioblastome", "métastase", "masse", "abcès", "AVC",
                     "infarctus", "hémorragie", "hémorragique", "microsaignement", "anévrisme", "oedème", "ischémique",
                     "hydrocéphalie")},
}

SKIPPED = """
le la les l de du des d au aux en dans sur chez par pour à il y a est sont on note notée ne n que
qui dont ce cette ces irm image images imagerie séquence séquences examen tête visible visibles
évidente significative détectable décelable franche atteint atteinte suivi suivie porteur porteuse
présentant diagnostic sep sclérose plaques maladie forme traitement traité traitée sous ans environ
approximativement respectivement représentant totalisant soit niveau région régions observe observée
retrouvée individualisable mise évidence précédent précédente dernier dernière contraste stade type
phénotype sexe score constate existe avoir étage siège localisée localisées volumétrie coupe coupes
axial axiale sagittale je voudrais veux générer génère compte tenu leur ses son sa aspect conclusion
technique résultats stigmate bilatéral bilatérale hyperintense signe signes
"""

TEMPLATES = {
    # "[une ]" is written where the phrase stands in running text and left out in a list of tags.
    "contrasts": ("IRM {}", "{}"),
    "person": ("{sex} de {age} {years}", "{sex}, {age} {years}"),
    "age": ("{age} {years}", "âge {age} {years}"),
    "edss": ("EDSS {}",),
    "duration": ("maladie évoluant depuis {} {years}", "durée d'évolution {} {years}",
                 "{} {years} d'évolution"),
    "some": ("{count} {lesion} {region}",),
    "open": ("[des ]{lesion} {region}",),
    "absent": ("aucune {lesion} {region}", "pas de {lesion} {region}", "absence de {lesion} {either}",
               "sans argument pour une {lesion} {either}"),
    "neither": (" ni ",), "either": (" ou ",),
    "sized": ("{lesions} ({ml})", "{lesions} totalisant {ml}"),
    "volume.of_region": ("[des ]{lesion} {region} ({ml})", "{ml} de {lesion} {region}"),
    "volume": ("{ml}", "[un ]volume lésionnel total de {ml}", "[un ]volume lésionnel de {ml}"),
    "volume.alone": ("[un ]volume lésionnel de {ml}", "[un ]volume lésionnel total de {ml}", "{ml} de lésions"),
    "load": ("[une ]{}",),
    "load.none": ("{} nulle",),
    "atrophy": ("[une ]atrophie {adjective} {grade}", "[une ]atrophie {grade} {noun}"),
    "atrophy.none": ("pas d'atrophie {adjective}", "aucune atrophie {adjective}", "pas d'atrophie {noun}",
                     "absence d'atrophie {either}", "{preserved}"),
    "atrophy.nowhere": ("pas d'atrophie", "absence d'atrophie"),
    "and": (" et ",),
    "letter": ("{scan} chez {person}, montrant {findings}", "{scan} chez {person} : {findings}",
               "{scan} chez {person}"),
    "prose.lesions": ("L'examen met en évidence {}", "On retrouve {}", "On note {}"),
    "prose.activity": ("On note également {}", "On observe en outre {}"),
    "prose.atrophy": ("Il s'y associe {}", "La volumétrie montre {}"),
    "scan": ("IRM {}", "IRM cérébrale ({})"),
    "scan.unsaid": ("IRM cérébrale",),
    "article.F": ("une",), "article.M": ("un",),
    "patient": ("patient",), "subject": ("sujet",),
}

READ = merged(FURTHER["fr"], activity.READ["fr"], wordings.READ["fr"])
LEXICON = Lexicon("fr", ",", (0.0, 1.99), NUMBERS, WRITTEN, UNDERSTOOD, READ, SKIPPED,
                  TEMPLATES | activity.TEMPLATES["fr"])
