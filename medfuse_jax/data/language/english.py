"""English as data: the words that are written and read, and the templates of sentences."""

from medfuse_jax.data.language import activity, wordings
from medfuse_jax.data.language.further import FURTHER
from medfuse_jax.data.language.lexicon import Lexicon, merged

UNITS = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
         "seventeen eighteen nineteen").split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
NUMBERS = (*UNITS, *(f"{ten}-{unit}" if unit != "zero" else ten for ten in TENS for unit in UNITS[:10]),
           "hundred")

REGION = {
    "infratentorial": ("infratentorial",), "periventricular": ("periventricular",),
    "deep_grey": ("deep grey matter",), "cortical": ("cortical",),
    "juxtacortical": ("juxtacortical",), "deep_white": ("deep white matter",),
}

WRITTEN = {
    "contrast": {
        "FLAIR": ("FLAIR",), "T1w": ("T1w", "T1-weighted"), "T2w": ("T2w", "T2-weighted"),
        "ce-gadolinium_T1w": ("post-gadolinium T1w", "post-gadolinium T1-weighted"),
    },
    "sex": {"F": ("woman", "female patient"), "M": ("man", "male patient")},
    "phenotype": {
        "CIS": ("CIS", "clinically isolated syndrome"),
        "RRMS": ("RRMS", "relapsing-remitting MS", "relapsing-remitting multiple sclerosis"),
        "SPMS": ("SPMS", "secondary progressive MS", "secondary progressive multiple sclerosis"),
        "PPMS": ("PPMS", "primary progressive MS", "primary progressive multiple sclerosis"),
        "control": ("control", "control subject"),
    },
    "treatment": {
        "none": ("untreated", "no treatment"),
        "moderate": ("moderate-efficacy treatment", "moderate-efficacy therapy"),
        "high": ("high-efficacy treatment", "high-efficacy therapy"),
    },
    "count": {"few": ("a few",), "several": ("several",), "many": ("many",), "numerous": ("numerous",)},
    "region.one": REGION,
    "region.many": REGION,
    "sex.short": {"F": ("F",), "M": ("M",)},
    "region.short": {"periventricular": ("PV",), "juxtacortical": ("JC",)},
    "lesion.one": {"": ("lesion", "lesion", "lesion", "plaque")},      # a plaque now and then
    "lesion.many": {"": ("lesions", "lesions", "lesions", "plaques")},
    "years.one": {"1": ("year",)},
    "years.many": {"1": ("years",)},
    "ml": {"1": ("ml",)},
    "burden": {"": ("lesion load", "lesion burden")},
    "load": {
        "minimal": ("minimal ~",), "mild": ("mild ~", "low ~"), "moderate": ("moderate ~",),
        "high": ("heavy ~", "high ~"), "very_high": ("very heavy ~", "very high ~"),
    },
    "grade": {"mild": ("mild", "slight"), "moderate": ("moderate",), "severe": ("severe", "marked")},
    "structure.adjective": {
        "thalamus": ("thalamic",), "caudate": ("caudate",), "putamen": ("putaminal",),
        "hippocampus": ("hippocampal",), "whole_brain": ("whole-brain", "brain"),
    },
    "structure.noun": {
        "thalamus": ("thalamus", "thalami"), "caudate": ("caudate nuclei", "caudate nucleus"),
        "putamen": ("putamina", "putamen"), "hippocampus": ("hippocampi", "hippocampus"),
        "whole_brain": ("brain", "whole brain"),
    },
    "preserved": {
        "thalamus": ("normal thalamus", "thalami of normal volume"), "caudate": ("normal caudate nuclei",),
        "putamen": ("normal putamina", "putamina of normal volume"),
        "hippocampus": ("normal hippocampi", "hippocampi of normal volume"),
        "whole_brain": ("normal brain volume",),
    },
    "healthy": {"": ("healthy control", "healthy volunteer")},
    "only": {"": ("otherwise normal", "no other abnormality")},
}

UNDERSTOOD = {
    "contrast": {
        "FLAIR": ("T2 FLAIR", "T2w FLAIR", "FLAIR T2", "fluid attenuated inversion recovery"),
        "T1w": ("T1", "T1 weighted", "MPRAGE"), "T2w": ("T2", "T2 weighted"),
        "ce-gadolinium_T1w": (
            "ce gadolinium T1w", "T1w after gadolinium", "T1 after gadolinium", "T1 post gadolinium",
            "T1w post gadolinium", "T1 gadolinium", "gadolinium T1",
            "T1w with gadolinium", "T1 with gadolinium", "post contrast T1", "post contrast T1w",
            "T1 post contrast",
            "T1w post contrast", "gadolinium enhanced T1", "gadolinium enhanced T1w", "T1 Gd", "T1w Gd",
            "T1 CE",
            "contrast enhanced T1", "contrast enhanced T1w", "post gadolinium T1", "after gadolinium"),
    },
    "sex": {"F": ("female", "women", "lady", "girl", "F", "she", "her"), "M": ("male", "men", "gentleman",
        "boy", "M", "he", "his")},
    "phenotype": {
        "CIS": ("clinical isolated syndrome",),
        "RRMS": ("RR", "RR MS", "relapsing remitting", "relapsing MS", "relapsing multiple sclerosis"),
        "SPMS": ("SP", "SP MS", "secondary progressive", "secondarily progressive MS"),
        "PPMS": ("PP", "PP MS", "primary progressive", "PRMS", "progressive relapsing MS"),      # Lublin 2013
    },
    "treatment": {
        "none": ("without treatment", "treatment naive", "no therapy", "not treated",
                 "no disease modifying therapy",
                 "without therapy", "off treatment"),
        "moderate": ("moderate efficacy", "platform therapy", "interferon", "interferon beta", "glatiramer",
                     "glatiramer acetate", "dimethyl fumarate", "teriflunomide", "moderate efficacy DMT"),
        "high": ("high efficacy", "natalizumab", "ocrelizumab", "ofatumumab", "alemtuzumab", "rituximab",
                 "mitoxantrone", "high efficacy DMT"),
    },
    "count": {
        "few": ("few", "scattered", "a handful of"), "many": ("multiple", "a lot of", "lots of"),
        "numerous": ("innumerable", "countless", "very many", "very numerous"),
    },
    "region": {
        "infratentorial": ("posterior fossa", "brainstem", "brain stem", "cerebellar", "cerebellum", "pontine"),
        "periventricular": ("peri ventricular", "PV", "around the ventricles"),
        "deep_grey": ("deep grey", "deep gray matter", "deep gray", "basal ganglia"),
        "cortical": ("intracortical", "leukocortical", "cortex"), "juxtacortical": ("juxta cortical", "JC"),
        "deep_white": ("deep white",),
    },
    "lesion": {"": (
        "MS lesion", "brain lesion", "cerebral lesion", "T2 lesion", "T2w lesion", "FLAIR lesion", "plaque",
        "MS plaque",
        "white matter lesion", "white matter hyperintensity", "white matter hyperintensities", "hyperintensity",
        "hyperintensities", "T2 hyperintensity", "T2 hyperintensities", "FLAIR hyperintensity",
        "FLAIR hyperintensities",
        "demyelinating lesion", "hyperintense lesion", "T2 hyperintense lesion",
        "T2 weighted hyperintense lesion",
        "focus", "foci", "WMH", "brain MS lesion", "focal lesion")},
    "burden": {"": ("lesional load", "T2 lesion load", "T2 lesion burden", "disease burden", "MS lesion load",
                    "burden of disease",
                    "load of lesion", "burden of lesion")},
    "load": {
        "none": ("absent", "nil"), "minimal": ("very low", "very mild", "very small"), "mild": ("light",
            "small", "slight"),
        "high": ("large", "marked", "considerable", "heavily"), "very_high": ("severe", "massive", "extensive",
            "very large"),
    },
    "grade": {
        "none": ("absent", "nil"), "mild": ("minimal", "mildly", "slightly", "discrete", "subtle", "light"),
        "moderate": ("moderately",),
        "severe": ("severely", "markedly", "pronounced", "advanced", "heavy", "massive", "strong",
                   "very severe",
                   "important", "profound"),
    },
    "structure": {
        "thalamus": ("left and right thalamus", "both thalami"), "caudate": ("caudate", "caudates"),
        "putamen": ("putamens",), "hippocampus": ("hippocampuses",),
        "whole_brain": ("global", "cerebral", "diffuse", "generalised", "generalized", "whole brain",
                        "brain volume",
                        "global brain", "diffuse brain", "global cerebral"),
    },
    "healthy": {"": ("healthy", "healthy subject", "healthy person", "healthy brain", "healthy individual")},
    "normal brain": {"": (
        "normal brain MRI", "normal MRI", "normal brain", "normal brain scan", "normal scan",
        "normal MRI of the brain",
        "unremarkable brain MRI", "unremarkable MRI", "brain MRI is normal", "MRI is normal", "brain is normal",
        "normal head MRI", "normal brain MR", "scan is normal")},
    "only": {"": ("only", "otherwise unremarkable", "no other lesion", "no other finding", "nothing else",
                  "no further lesion",
                  "no further abnormality", "no other abnormalities", "without other abnormality",
                  "no additional lesion",
                  "no additional abnormality", "no additional finding", "solely", "exclusively")},
    "not": {"": ("no", "without", "not", "none", "absence of", "free of", "absent of", "neither",
                 "never", "lack of", "devoid of")},
    "nor": {"": ("nor",)},
    "atrophy": {"": ("atrophy", "atrophic", "volume loss", "atrophied", "shrinkage", "shrunken",
                     "loss of volume", "tissue loss")},
    "normal": {"": ("normal", "preserved", "unremarkable", "spared", "intact", "normal volume",
                    "normal in volume",
                    "normal size", "normal in size", "of normal volume", "of normal size")},
    "volume": {"": ("lesion volume", "lesions volume", "volume of lesion", "lesion load volume",
                    "T2 lesion volume", "volume of the lesion",
                    "lesional volume", "volume")},
    "tally": {"": ("lesion count", "number of lesion", "lesion number", "count of lesion",
                   "number of the lesion")},
    "total": {"": ("total", "in total", "in all", "overall", "altogether", "in sum")},
    "ml": {"1": ("millilitre", "milliliter", "cc", "cm3", "cubic centimetre", "cubic centimeter"),
           "0.001": ("mm3", "cubic millimetre", "cubic millimeter", "microlitre", "microliter", "ul")},
    "years": {"1": ("yrs", "yr", "y"), "0.083333": ("month",)},
    "old": {"": ("years old", "year old", "yo", "y o", "years of age", "yrs old", "yr old", "y old")},
    "someone": {"": ("patient", "subject", "person", "adult", "volunteer")},
    "aged": {"": ("aged", "age", "age of")},
    "duration": {"": ("disease duration", "duration", "disease duration of", "for", "of disease", "since",
                      "of MS",
                      "after onset", "from onset", "since onset", "of evolution", "of multiple sclerosis",
                      "disease for")},
    "edss": {"": ("EDSS", "EDSS score", "EDSS of")},
    "article": {"1": ("a", "an")},
    "number": {"1": ("single", "solitary", "a single", "a solitary", "one single"), "2": ("a couple of",),
               "12": ("a dozen", "dozen"), "24": ("two dozen",), "36": ("three dozen",), "6": ("half a dozen",)},
    "and": {"": ("and", "as well as", "along with", "plus")},
    "or": {"": ("or",)},
    "with": {"": ("with", "showing", "shows", "show", "has", "have", "having", "but")},
    "skip": {"": ("brain MRI", "brain MR", "brain scan", "brain image", "MRI of the brain", "MRI brain",
                  "brain imaging", "white matter", "multiple sclerosis")},
    "side": {
        "left and right are not commanded": ("left", "right", "left sided", "right sided", "unilateral"),
    },
    "bound": {"more": ("more than",), "less": ("less than", "fewer than"), "least": ("at least",),
              "most": ("at most", "up to")},
    "unsupported": {
        "": ("spinal cord", "cervical cord", "cord", "spinal", "optic nerve", "optic neuritis", "PET",
             "positron emission tomography",
             "amyloid", "SWI", "DWI", "diffusion", "perfusion", "spectroscopy", "angiography", "shrinking"),
        "FLAIR and T1w": ("CT", "computed tomography", "ultrasound", "X ray"),
        "T1w after gadolinium": (
            "gadolinium",),
        "new lesions": ("active",),
        "lesions": ("central vein sign", "paramagnetic rim", "rim lesion", "smouldering", "slowly expanding"),
        "brain atrophy": (
            "cortical atrophy", "cortical thinning", "cerebellar atrophy", "brainstem atrophy",
            "enlarged ventricle",
            "ventricular enlargement", "ventricular dilatation", "corpus callosum", "large ventricle",
            "ventriculomegaly", "white matter atrophy"),
        "hippocampal atrophy": ("amygdala", "amygdalar", "temporal lobe atrophy", "temporal atrophy"),
        "putaminal atrophy": ("pallidum", "pallidal", "accumbens", "striatum", "striatal", "globus pallidus"),
    },
    "foreign": {"": ("tumour", "tumor", "glioma", "glioblastoma", "metastasis", "metastases", "mass", "abscess",
                     "stroke", "infarct", "infarction", "haemorrhage", "hemorrhage", "microbleed", "aneurysm", "oedema",
                     "edema", "hydrocephalus")},
}

SKIPPED = """
the of in is are there on at by to from mri mr magnetic resonance imaging image images scan scans
scanner head case study evidence bilateral bilaterally seen demonstrates reveals presents presenting
displays note noted visible obvious significant evident detectable definite any totalling totaling
making up matter region regions area areas that this it its which who was were be been can could i
we please generate create make draw me give need want would like sequence sequences contrast
contrasts weighted acquisition treated treatment both some therapy under receiving score scored ms
multiple sclerosis disease diagnosis diagnosed phenotype type sex gender count about approximately
around roughly circa respectively located previous prior earlier last baseline compared comparison
visit findings finding impression technique these those their them them each being including include
whose also still present observed found existing known history sign signs grade degree status axial
sagittal coronal slice slices white
"""

TEMPLATES = {
    # "[a ]" is written where the phrase stands in running text and left out in a list of tags.
    "contrasts": ("{}", "{} MRI"),
    "person": ("{sex} of {age}", "{age}-year-old {sex}", "{sex}, {age} years old", "{sex} aged {age}"),
    "age": ("aged {age}", "{age} years old"),
    "edss": ("EDSS {}",),
    "duration": ("disease duration {} {years}", "{} {years} of disease"),
    "some": ("{count} {region} {lesion}",),
    "open": ("{region} {lesion}",),
    "absent": ("no {region} {lesion}", "no {region} {lesion}", "no evidence of {region} {lesion}"),
    "neither": (" or ",), "either": (" or ",),
    "sized": ("{lesions} ({ml})", "{lesions} totalling {ml}"),
    "volume.of_region": ("{region} {lesion} ({ml})", "{ml} of {region} {lesion}"),
    "volume": ("{ml}", "[a ]total lesion volume of {ml}", "[a ]lesion volume of {ml}"),
    "volume.alone": ("[a ]lesion volume of {ml}", "[a ]total lesion volume of {ml}", "{ml} of lesions"),
    "load": ("[a ]{}",),
    "load.none": ("no {}",),
    "atrophy": ("{grade} {adjective} atrophy", "{grade} atrophy of the {noun}"),
    "atrophy.none": ("no {adjective} atrophy", "no atrophy of the {noun}", "{preserved}"),
    "atrophy.nowhere": ("no atrophy",),
    "and": (" and ",),
    "letter": ("{scan} of {person} showing {findings}", "{scan} of {person}: {findings}", "{scan} of {person}"),
    "prose.lesions": ("The scan shows {}", "The examination demonstrates {}", "There is evidence of {}"),
    "prose.activity": ("The scan further shows {}", "There is also evidence of {}"),
    "prose.atrophy": ("There is {}", "Volumetry shows {}"),
    "scan": ("{} MRI", "Brain MRI ({})"),
    "scan.unsaid": ("Brain MRI", "MRI"),
    "article.F": ("a",), "article.M": ("a",),
    "article.an": ("an",),
    "patient": ("patient",), "subject": ("subject",),
}

READ = merged(FURTHER["en"], activity.READ["en"], wordings.READ["en"])
LEXICON = Lexicon("en", ".", (1.0, 1.0), NUMBERS, WRITTEN, UNDERSTOOD, READ, SKIPPED,
                  TEMPLATES | activity.TEMPLATES["en"])
