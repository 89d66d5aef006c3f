"""One alphabet for axes: every array in the house speaks these letters.

    b batch           d h w volume (inferior-superior, posterior-anterior, left-right)      c contrasts
    z y x latent      f latent features      l tokens      e embedding      v vocabulary
    k label classes   m modalities           n visits      p prompts        s stated facts

`t` is years of disease and `tau` is the noise level (1 = noise, 0 = data): they never share a letter.
Channels are last, always. Shapes are checked by beartype in tests and cost nothing in use.
"""

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

Array = jax.Array | np.ndarray
Volume = Float[Array, "b d h w c"]
Present = Float[Array, "b c"]                # 1 where the contrast exists
Latent = Float[Array, "b z y x f"]
Place = Float[Array, "b z y x 1"]            # one number at each place of the latent
LabelLogits = Float[Array, "b d h w k"]
Structures = Int[Array, "b d h w"]           # class index of labels.STRUCTURES
Lesion = Float[Array, "b d h w"]             # fraction of the voxel that is lesion
Words = Int[Array, "b l"]
WordMask = Bool[Array, "b l"]
Tokens = Float[Array, "b l e"]
Embedding = Float[Array, "b e"]
Facts = Float[Array, "b s 3"]                # low, high, stated
PerExample = Float[Array, "b"]
Scalar = Float[Array, ""]
