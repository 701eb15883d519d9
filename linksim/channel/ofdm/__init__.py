"""OFDM: from a channel's frequency response to the scalar equivalent that a link sees.

    x [B,S] -> grid -> H[t,f] (or a time-varying filter) and noise -> estimate -> combine, equalise -> Received [B,S]

How to put a channel of one's own behind it: give :class:`~linksim.channel.ofdm.receiver.OfdmLink` the response at the
times and frequencies that it asks for.

    link = OfdmLink(Grid(), csi_rx="lmmse")
    times, frequencies = link.times(x.shape[1]), link.frequencies        # [L] s, [F] Hz
    response = ...                                                       # [B, R, L, F] complex64, E|H|^2 = 1
    received = link.send(x, response, n0, seed, scattering)              # Received

``scattering`` (:class:`~linksim.channel.ofdm.scattering.Scattering`) holds the power, delay and Doppler of the paths;
LMMSE estimation and the error variances in ``n0_eff`` follow from it. Without one, the estimator assumes delays uniform
over the cyclic prefix. :func:`~linksim.channel.ofdm.scattering.response` makes H[t,f] of the gains and delays of a
tapped delay line. A channel also forwards ``data_uses`` and ``total_uses``, from which the link books pilots and
prefix, and ``post_snr``, by which AMC knows the estimator's loss; linksim/channel/wideband.py shows how.
"""
