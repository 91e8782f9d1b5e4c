"""Functions of neural networks: operators of the table under `nn.functional`, and compositions of them.

A name that the table defines comes from there; what is only composed here stands in the modules imported below.
"""

from flambeau import _suggest
from flambeau import functional_ns as _o
from flambeau.nn._attention import _canonical_mask, multi_head_attention_forward
from flambeau.nn._ctc import ctc_loss
from flambeau.nn._distances import cosine_similarity, normalize, pairwise_distance
from flambeau.nn._fractional import (
    fractional_max_pool2d,
    fractional_max_pool2d_with_indices,
    fractional_max_pool3d,
    fractional_max_pool3d_with_indices,
)
from flambeau.nn._grid import affine_grid, grid_sample
from flambeau.nn._interpolate import interpolate, upsample, upsample_bilinear, upsample_nearest
from flambeau.nn._losses import (
    LinearCrossEntropyOptions,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cosine_embedding_loss,
    cross_entropy,
    gaussian_nll_loss,
    hinge_embedding_loss,
    huber_loss,
    kl_div,
    l1_loss,
    linear_cross_entropy,
    margin_ranking_loss,
    mse_loss,
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
    nll_loss,
    poisson_nll_loss,
    smooth_l1_loss,
    soft_margin_loss,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)
from flambeau.nn._normalization import glu, instance_norm, local_response_norm
from flambeau.nn._operators import conv_tbc, embedding, log_softmax, softmax, softmin
from flambeau.nn._pooling import (
    embedding_bag,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_unpool1d,
    max_unpool2d,
    max_unpool3d,
)
from flambeau.nn._random import (
    alpha_dropout,
    dropout1d,
    dropout2d,
    dropout3d,
    feature_alpha_dropout,
    gumbel_softmax,
)
from flambeau.nn._shapes import channel_shuffle, fold, pixel_shuffle, pixel_unshuffle, unfold

_table = _o.functional()
globals().update(_table)


def __getattr__(name: str) -> object:
    if name in _table:  # an operator that was defined after this module was loaded
        return _table[name]
    raise _suggest.missing(__name__, name)
