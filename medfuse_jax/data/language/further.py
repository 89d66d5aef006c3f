"""What people also write: ranges, doubts, sizes, other diseases, sloppy and clinical words. Only read, never written.

No word piece is learned from these tables: they may grow, and the vocabulary of models in training stays what it is.
"""

SIZE = "the size of a lesion is not commanded, only number and volume (ml)"
SHARE = "a percentage is not commanded: say none, mild, moderate or severe"
DOUBT = "a doubt is not commanded: what it is about is read as certain"
SIGNS = {
    "bound": {"more": (">",), "less": ("<",), "least": ("≥", "> ="), "most": ("≤", "< =")},
    "spread": {"": ("±",)},
}
UNITS = {SIZE: ("mm", "cm", "mm2", "cm2"), SHARE: ("%",)}

ENGLISH = {
    "bound": {
        "more": (*SIGNS["bound"]["more"], "over", "above", "greater than", "higher than", "older than", "exceeding",
                 "in excess of", "larger than", "bigger than"),
        "less": (*SIGNS["bound"]["less"], "under", "below", "lower than", "younger than", "smaller than"),
        "least": (*SIGNS["bound"]["least"], "a minimum of", "minimum", "or more", "and more", "or above", "min"),
        "most": (*SIGNS["bound"]["most"], "a maximum of", "maximum", "or less", "or fewer", "or below", "max"),
    },
    "spread": {"": ("±", "plus or minus")},
    "between": {"": ("between", "from", "ranging from", "range")},
    "to": {"": ("to", "through")},
    "measure": {
        SIZE: (*UNITS[SIZE], "millimetre", "millimeter", "centimetre", "centimeter", "mm in diameter", "mm diameter"),
        SHARE: (*UNITS[SHARE], "percent", "per cent", "percentile"),
    },
    "aside": {DOUBT: ("possible", "possibly", "probable", "probably", "suspected", "suspicion of", "suspicious for",
                      "likely", "maybe", "perhaps", "might", "may", "query", "rule out", "presumed", "equivocal",
                      "doubtful", "uncertain", "questionable", "suggestive of", "consistent with", "compatible with")},
    "MS": {"": ("MS", "multiple sclerosis")},
    "foreign": {"": (
        "brain tumour", "brain tumor", "meningioma", "lymphoma", "cancer", "astrocytoma", "oligodendroglioma", "cyst",
        "mass effect", "midline shift", "ischaemia", "ischemia", "ischaemic", "ischemic", "ischaemic stroke",
        "ischemic stroke", "lacunar", "lacune", "lacunar infarct", "haematoma", "hematoma", "haemorrhagic",
        "hemorrhagic", "bleed", "bleeding", "thrombosis", "malformation", "cavernoma",
        "small vessel disease", "leukoaraiosis", "leucoaraiosis", "microangiopathy", "CADASIL", "vasculitis",
        "NMOSD", "NMO", "neuromyelitis optica", "neuromyelitis", "Devic", "MOGAD", "MOG", "ADEM", "encephalomyelitis",
        "Balo", "Marburg", "Schilder", "tumefactive", "PML", "progressive multifocal leukoencephalopathy",
        "leukoencephalopathy", "leukodystrophy", "encephalitis", "meningitis", "sarcoidosis", "neurosarcoidosis",
        "lupus", "Behcet", "Susac", "Sjogren", "Alzheimer", "Alzheimer's", "dementia", "Parkinson", "Parkinson's",
        "Huntington", "Huntington's", "ALS", "amyotrophic lateral sclerosis", "epilepsy", "seizure", "migraine",
        "schizophrenia", "autism", "depression", "trauma", "traumatic", "TBI", "concussion", "toxoplasmosis", "HIV",
        "fracture", "mesial temporal sclerosis", "tuberous sclerosis")},
    "unsupported": {
        "CIS": ("RIS", "radiologically isolated syndrome"),
        "SPMS": ("progressive MS", "progressive multiple sclerosis"),
        "new lesions": ("active lesion", "active MS"),
        "": ("acute", "relapse", "optic nerve", "temporal lobe", "frontal", "parietal", "occipital", "temporal",
             "frontal lobe", "parietal lobe", "occipital lobe"),
    },
    "skip": {"": (
        "without gadolinium", "no gadolinium", "without contrast", "no contrast", "non contrast", "without gd",
        "unenhanced", "non enhanced", "pre contrast", "without contrast agent", "without gadolinium enhancement",
        "without contrast enhancement", "approx", "ca", "please", "hello", "hi", "thanks", "volume of", "typical",
        "3D", "isotropic", "known", "nearly", "almost")},
    "contrast": {"T1w": ("T1 weighted image", "T1w without gadolinium", "T1 without gadolinium", "T1 without contrast",
                         "MP RAGE", "T1WI"),
                 "T2w": ("T2WI",),
                 "ce-gadolinium_T1w": ("T1 + gd", "T1 + gadolinium", "T1 + C", "T1C", "T1Gd", "T1ce", "T1 w gd",
                                       "T1 post gd", "T1w post gd", "T1w + gd", "T1w + gadolinium")},
    "sex": {"F": ("wife", "mother", "gal"), "M": ("guy", "father", "husband")},
    "old": {"": ("y o", "yo", "y / o", "y . o .", "y . o", "yr o", "yrs of age", "y old", "yrs")},
    "years": {"1": ("yrs", "yr", "y", "y r s", "yers"), "0.0191781": ("week", "wk"), "0.083333": ("mo", "mth")},
}

FRENCH = {
    "bound": {
        "more": (*SIGNS["bound"]["more"], "supérieur à", "supérieure à", "au dessus de", "au delà de", "plus que"),
        "less": (*SIGNS["bound"]["less"], "inférieur à", "inférieure à", "en dessous de", "moins que"),
        "least": (*SIGNS["bound"]["least"], "minimum", "un minimum de", "ou plus", "et plus", "à partir de", "min"),
        "most": (*SIGNS["bound"]["most"], "maximum", "un maximum de", "ou moins", "max", "pas plus de"),
    },
    "spread": {"": ("±", "plus ou moins")},
    "between": {"": ("entre",)},
    "to": {"": ("à",)},
    "measure": {
        SIZE: (*UNITS[SIZE], "millimètre", "centimètre", "mm de diamètre", "mm de grand axe"),
        SHARE: (*UNITS[SHARE], "pour cent", "pourcent", "percentile"),
    },
    "aside": {DOUBT: ("possible", "possiblement", "probable", "probablement", "suspicion de", "suspicion", "suspecté",
                      "suspectée", "peut-être", "éventuel", "éventuelle", "éventuellement", "évocateur de",
                      "évocatrice de", "compatible avec", "douteux", "douteuse", "incertain", "incertaine",
                      "semble", "présumée", "présumé")},
    "MS": {"": ("SEP", "sclérose en plaques")},
    "foreign": {"": (
        "tumeur cérébrale", "méningiome", "lymphome", "cancer", "astrocytome", "kyste", "effet de masse",
        "ischémie", "accident vasculaire cérébral", "accident vasculaire", "lacune", "lacunaire", "hématome",
        "thrombose", "malformation", "cavernome", "leucoaraïose", "leuco araïose", "microangiopathie",
        "maladie des petits vaisseaux", "CADASIL", "vascularite", "NMOSD", "NMO", "neuromyélite optique",
        "neuromyélite", "Devic", "maladie de Devic", "MOGAD", "MOG", "ADEM", "EMAD", "encéphalomyélite", "Balo", "Marburg", "LEMP",
        "leucoencéphalopathie", "leucodystrophie", "encéphalite", "méningite", "sarcoïdose", "neurosarcoïdose", "lupus",
        "Behçet", "Susac", "Alzheimer", "maladie d'Alzheimer", "démence", "Parkinson", "maladie de Parkinson",
        "Huntington", "maladie de Huntington", "SLA", "sclérose latérale amyotrophique", "épilepsie", "migraine",
        "schizophrénie", "autisme", "dépression", "traumatisme", "traumatique", "toxoplasmose", "VIH", "fracture",
        "sclérose tubéreuse", "métastatique")},
    "unsupported": {
        "CIS": ("RIS", "syndrome radiologique isolé", "syndrome radiologiquement isolé"),
        "SEP-SP": ("SEP progressive", "sclérose en plaques progressive"),
        "nouvelles lésions": ("lésion active", "SEP active"),
        "": ("aigu", "aiguë", "poussée", "frontal", "frontale", "pariétal", "pariétale", "occipital",
             "occipitale", "temporal", "temporale", "lobe temporal", "lobe frontal", "lobe pariétal", "lobe occipital"),
    },
    "skip": {"": (
        "sans gadolinium", "sans gado", "sans injection", "sans injection de gadolinium", "non injecté", "non injectée",
        "sans contraste", "sans produit de contraste", "pas de gadolinium", "pas d'injection", "sans injecter",
        "env", "bonjour", "merci", "svp", "3D", "isotrope", "connu", "connue", "presque")},
    "contrast": {"T1w": ("T1 sans gadolinium", "T1 sans gado", "T1 non injecté", "T1 non injectée", "T1 sans contraste",
                         "T1w sans injection", "T1w sans gadolinium"),
                 "ce-gadolinium_T1w": ("T1 + gado", "T1 + gadolinium", "T1 + gd", "T1 post gadolinium", "T1 post gado",
                                       "T1 avec gado", "T1 après gado", "T1 post injection")},
    "sex": {"F": ("dames", "mère", "épouse"), "M": ("mec", "père", "mari")},
    "years": {"1": ("annees",), "0.0191781": ("semaine",)},
}

FURTHER = {"en": ENGLISH, "fr": FRENCH}
