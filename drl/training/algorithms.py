"""From the closed settings of the pipeline file to RLlib's configurations, on its new API stack.

Everything runs in this process: no remote environment runner and no remote learner, which is fastest for
small networks and reproducible bit for bit.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from drl.spec import DQNSettings, Network, PPOSettings, SACSettings, TrainingSpec
from drl.training.environments import NAME


def report_every(time_steps: int) -> int:
    """Time steps in one iteration of the off-policy algorithms: a hundredth of all, within 100 and 1,000."""
    return max(100, min(1_000, time_steps // 100))


def configure(training: TrainingSpec, seed: int) -> Any:
    """The AlgorithmConfig for one seed; the environment must have been registered."""
    settings = training.settings
    if isinstance(settings, PPOSettings):
        config = _ppo(settings, training.time_steps)
    elif isinstance(settings, DQNSettings):
        config = _dqn(settings, training.time_steps)
    else:
        config = _sac(settings, training.time_steps)
    return (
        config.environment(NAME)
        .env_runners(
            num_env_runners=0,
            num_envs_per_env_runner=settings.environments,
            gym_env_vectorize_mode=gym.VectorizeMode.VECTOR_ENTRY_POINT,
        )
        .learners(num_learners=0, num_gpus_per_learner=0)
        .rl_module(model_config=_network(training.network))
        .debugging(seed=seed, log_level="ERROR")
    )


def _network(network: Network) -> dict[str, Any]:
    # No hidden layers between encoder and head, so that a policy is one chain of dense layers.
    return {
        "fcnet_hiddens": list(network.hidden),
        "fcnet_activation": network.activation,
        "head_fcnet_hiddens": [],
        "vf_share_layers": False,
    }


def _ppo(settings: PPOSettings, time_steps: int) -> Any:
    from ray.rllib.algorithms.ppo import PPOConfig

    from drl.training.sampling import FragmentRunner

    return (
        PPOConfig()
        .environment(normalize_actions=False, clip_actions=True)
        .env_runners(rollout_fragment_length=settings.fragment, env_runner_cls=FragmentRunner)
        .training(
            train_batch_size_per_learner=settings.environments * settings.fragment,
            minibatch_size=settings.minibatch,
            num_epochs=settings.epochs,
            shuffle_batch_per_epoch=True,
            lr=_schedule(settings.learning_rate, settings.final_learning_rate, time_steps),
            entropy_coeff=_schedule(settings.entropy, settings.final_entropy, time_steps),
            gamma=settings.gamma,
            lambda_=settings.gae_lambda,
            clip_param=settings.clip,
            use_kl_loss=False,  # its adaptive coefficient is not in RLlib's checkpoints
            vf_loss_coeff=settings.value_loss,
            vf_clip_param=1e6,  # the default clips squared errors above 10, whatever the reward's unit
            grad_clip=settings.gradient_clip,
            grad_clip_by="global_norm",
        )
    )


def _dqn(settings: DQNSettings, time_steps: int) -> Any:
    from ray.rllib.algorithms.dqn import DQNConfig

    return (
        DQNConfig()
        .training(
            lr=settings.learning_rate,
            train_batch_size_per_learner=settings.batch,
            gamma=settings.gamma,
            double_q=True,
            dueling=True,
            num_atoms=1,
            n_step=1,
            replay_buffer_config=_replay(settings.buffer),
            num_steps_sampled_before_learning_starts=settings.learning_starts,
            target_network_update_freq=settings.target_update,
            epsilon=[(0, 1.0), (settings.epsilon_steps, settings.final_epsilon)],
        )
        .reporting(**_reporting(time_steps))
    )


def _sac(settings: SACSettings, time_steps: int) -> Any:
    from ray.rllib.algorithms.sac import SACConfig

    return (
        SACConfig()
        .environment(normalize_actions=True, clip_actions=False)
        .training(
            lr=None,  # RLlib insists on one of lr and the three below
            actor_lr=settings.actor_learning_rate,
            critic_lr=settings.critic_learning_rate,
            alpha_lr=settings.alpha_learning_rate,
            train_batch_size_per_learner=settings.batch,
            gamma=settings.gamma,
            tau=settings.tau,
            twin_q=True,
            replay_buffer_config=_replay(settings.buffer),
            num_steps_sampled_before_learning_starts=settings.learning_starts,
        )
        .reporting(**_reporting(time_steps))
    )


def _reporting(time_steps: int) -> dict[str, Any]:
    # Never by the clock, as is SAC's default: the length of an iteration decides where the fences stand.
    return {
        "min_time_s_per_iteration": None,
        "min_sample_timesteps_per_iteration": report_every(time_steps),
    }


def _replay(capacity: int) -> dict[str, Any]:
    return {"type": "EpisodeReplayBuffer", "capacity": capacity}


def _schedule(first: float, last: float, time_steps: int) -> float | list[list[float]]:
    return first if first == last else [[0, first], [time_steps, last]]
